"""Routes of the event streams and of webhook endpoints."""
