"""Send events to clients, by live streams and by webhooks."""
