"""Background jobs, which a worker process runs every minute and on request."""
