"""Segments: contacts that match rules, evaluated each time they are used."""
