"""Properties: buildings with an address, a year, and the contacts that belong to them."""
