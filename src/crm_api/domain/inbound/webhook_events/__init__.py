"""Store, apply, retry and replay the webhook events that the provider sends."""
