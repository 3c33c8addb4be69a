"""Funnel and cohorts: how far people come after their first message, in equal windows."""
