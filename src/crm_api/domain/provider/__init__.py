"""Call the API of the provider, parse its JSON, and verify the signatures of its webhooks."""
