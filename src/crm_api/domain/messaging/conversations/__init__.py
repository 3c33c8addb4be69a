"""Conversations, and the one timeline of messages and calls."""
