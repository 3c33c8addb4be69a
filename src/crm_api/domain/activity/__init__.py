"""Conversations, messages and calls; one timeline of them."""
