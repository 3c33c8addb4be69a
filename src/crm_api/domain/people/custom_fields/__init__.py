"""Custom fields: attributes with a defined type, checked on every write."""
