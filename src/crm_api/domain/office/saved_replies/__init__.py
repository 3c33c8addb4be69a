"""Saved replies: messages that users send often, and the effects of using such a message."""
