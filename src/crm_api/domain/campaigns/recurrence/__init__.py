"""Campaigns that are repeated: recurrence rules, and the occurrences of a series."""
