"""Receive and apply the provider's events, and check that no event is missing."""
