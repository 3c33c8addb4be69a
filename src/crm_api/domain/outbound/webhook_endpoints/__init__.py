"""Webhooks out: receivers, their secrets, and whether they answer."""
