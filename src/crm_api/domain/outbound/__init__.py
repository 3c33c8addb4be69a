"""Send events to clients by live streams and webhooks, and notices to users by mail and push."""
