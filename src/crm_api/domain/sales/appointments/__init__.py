"""Appointments at the homes of contacts."""
