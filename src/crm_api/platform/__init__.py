"""Parts that every program needs: settings, database, clock, logs, metrics, Redis, encryption."""
