"""Saved replies: messages that users send often, and what else happens when one is used."""
