"""Measures: one definition each, from which come figure, interval, rows, CSV and sentence."""
