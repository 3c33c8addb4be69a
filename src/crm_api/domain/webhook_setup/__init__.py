"""Our webhooks at the provider: registered, compared with what they should be, and their keys."""
