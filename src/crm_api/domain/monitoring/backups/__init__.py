"""Backups: one encrypted file with database, media and secret key, and how to restore it."""
