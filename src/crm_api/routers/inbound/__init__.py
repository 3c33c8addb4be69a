"""Routes of received webhooks, their health checks and the reconciliation."""
