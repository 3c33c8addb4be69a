"""Legal rules about when and how often messages may be sent; they are data in a JSON file."""
