"""Erase a person: remove all data but consent decisions and counts. Block the person's numbers."""
