"""Campaigns that are repeated, and the calendar of campaigns."""
