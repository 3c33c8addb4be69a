"""Named lists of contacts."""
