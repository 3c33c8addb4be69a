"""Watch the service, limit its size and back it up."""
