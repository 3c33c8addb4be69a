"""Webhook endpoints of third parties: their addresses and secrets, and whether they respond."""
