"""Conversations with people outside the company: their messages and calls."""
