"""Receive and apply the provider's events, and check that none is missing."""
