"""Holdouts: planned with their cost and the date when they will know, compared honestly."""
