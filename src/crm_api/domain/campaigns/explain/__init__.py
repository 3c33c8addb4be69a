"""Explain why a recipient does or does not get a message now."""
