"""OpenPhone (Quo): the client of its API, the parsers of its JSON, its webhook signatures."""
