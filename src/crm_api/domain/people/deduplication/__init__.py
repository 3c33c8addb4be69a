"""Find contacts that may be one person, merge them, and undo merges."""
