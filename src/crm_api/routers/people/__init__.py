"""Routes of contacts, and of the data that describes or groups them."""
