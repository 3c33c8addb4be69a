"""Events for clients: live streams and webhooks out."""
