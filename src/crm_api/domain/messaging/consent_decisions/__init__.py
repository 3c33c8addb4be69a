"""Decisions about consent (opt-out, opt-in, hold) and their effect on waiting messages."""
