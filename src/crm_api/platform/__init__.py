"""Modules that every process uses: settings, database, clock, logs, metrics, Redis, encryption."""
