"""Watch the service, run its daily work, archive old rows, and make and restore backups."""
