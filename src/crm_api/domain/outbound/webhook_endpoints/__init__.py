"""Webhook endpoints of third parties: their addresses, secrets, and whether they answer."""
