"""Events from the provider, and the checks that none is missing."""
