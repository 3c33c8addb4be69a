"""Routes for operators: health, metrics, scheduled jobs, and control of the sandbox."""
