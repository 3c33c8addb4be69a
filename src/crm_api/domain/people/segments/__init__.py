"""Segments: rules that select contacts; they are evaluated each time a segment is used."""
