"""Duplicates: found, merged into one person, and taken apart again."""
