"""OpenPhone in small: the provider that `up` and the tests use when there is no API key."""
