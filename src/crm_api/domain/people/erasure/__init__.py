"""Erase a person: remove all data except consent decisions and counts, and block the numbers."""
