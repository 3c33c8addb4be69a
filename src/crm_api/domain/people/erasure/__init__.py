"""Erase a person: remove their data except decisions and counts, and block their numbers."""
