"""Find duplicate contacts, merge them into one, and undo merges."""
