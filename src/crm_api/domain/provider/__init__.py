"""The client of the provider's API, the parsers of its JSON, and its webhook signatures."""
