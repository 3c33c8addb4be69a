"""Houses: an address, when it was built, and the people who belong to it."""
