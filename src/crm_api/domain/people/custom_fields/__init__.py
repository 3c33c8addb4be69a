"""Custom fields: contact attributes with a type. New values are checked against the type."""
