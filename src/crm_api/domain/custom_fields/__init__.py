"""Attributes with a name of their own and a type: defined, checked on every write."""
