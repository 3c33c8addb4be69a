"""Contacts, and the data that describes or groups them."""
