"""Backups: one encrypted file with the database, the media and the secret key, and its way back."""
