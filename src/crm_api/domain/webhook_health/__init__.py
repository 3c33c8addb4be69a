"""Do the provider's events reach us? Looked at from three sides, hourly."""
