"""Watch the service, run its daily work, archive old months, and make and restore backups."""
