"""Segments: people by rules, asked anew each time."""
