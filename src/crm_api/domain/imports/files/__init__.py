"""Files that are imported: reading their rows, and the life of an import of any kind."""
