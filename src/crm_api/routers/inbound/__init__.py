"""Routes of received webhooks, webhook health checks, and reconciliation with the provider."""
