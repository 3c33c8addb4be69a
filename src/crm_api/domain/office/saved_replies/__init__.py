"""Saved replies: bodies that users send often, and what follows when one is used."""
