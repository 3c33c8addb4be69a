"""Erasure: remove a person's data, keep decisions and counts, and block the number."""
