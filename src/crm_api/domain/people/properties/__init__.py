"""Properties: buildings, each with an address, its year of construction, and its contacts."""
