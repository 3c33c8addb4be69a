"""Mails to single people, written with the fact that they tell of and sent in the background."""
