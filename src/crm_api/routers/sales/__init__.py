"""Routes of the area sales."""
