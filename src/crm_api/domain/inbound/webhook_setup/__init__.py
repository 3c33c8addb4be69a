"""Our webhooks at the provider: registration, comparison with what is needed, and their keys."""
