"""Decisions about consent, with their effect on waiting messages."""
