"""Uploaded lists of numbers that must not get messages."""
