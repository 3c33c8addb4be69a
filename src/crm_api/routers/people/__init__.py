"""Routes of contacts, and of everything that describes or groups contacts."""
