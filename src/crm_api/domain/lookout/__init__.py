"""Looks for what is wrong and raises alerts, though nobody has complained."""
