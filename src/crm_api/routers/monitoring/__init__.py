"""Routes for operators: health, metrics, alerts, scheduled jobs, and control of the sandbox."""
