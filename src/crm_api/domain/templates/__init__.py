"""Saved texts, to be used in campaigns again."""
