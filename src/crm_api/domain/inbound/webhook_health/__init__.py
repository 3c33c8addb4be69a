"""Check hourly, in three ways, whether the provider's events arrive."""
