"""Import of contacts from files and from the provider."""
