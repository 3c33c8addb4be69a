"""Forecast when a campaign sends its last message, and which rule delays this message most."""
