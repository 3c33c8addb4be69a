"""Import contacts from files and from the provider, and undo such imports."""
