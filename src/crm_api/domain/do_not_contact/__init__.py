"""Uploaded lists of numbers that must not be texted."""
