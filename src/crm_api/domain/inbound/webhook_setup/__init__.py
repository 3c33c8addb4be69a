"""Register our webhooks at the provider, find their faults, and keep their signing keys."""
