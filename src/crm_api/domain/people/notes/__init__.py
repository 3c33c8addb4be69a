"""Notes of users about a contact."""
