"""Explain whether a recipient would get a message now, and which rules prevent it."""
