"""Custom fields: contact attributes with a defined type, which every write of a value checks."""
