"""Contacts, each found by its phone number. A deleted contact keeps its number and can return."""
