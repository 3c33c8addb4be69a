"""Routes of sales."""
