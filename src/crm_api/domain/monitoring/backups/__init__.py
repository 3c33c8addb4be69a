"""Make and restore backups. A backup is one encrypted file with database, media and secret key."""
