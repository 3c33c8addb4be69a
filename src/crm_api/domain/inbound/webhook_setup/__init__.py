"""Register our webhooks at the provider, find faults of the webhooks, and keep the signing keys."""
