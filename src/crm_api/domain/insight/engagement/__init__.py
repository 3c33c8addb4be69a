"""Engagement of a contact: a score with its reasons."""
