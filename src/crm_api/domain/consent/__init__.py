"""Consent: which phone numbers may get messages, and the append-only history of decisions."""
