"""Routes of health, metrics, alerts, scheduled jobs and the sandbox."""
