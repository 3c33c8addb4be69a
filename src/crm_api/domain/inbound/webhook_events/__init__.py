"""Received webhook events: how they are stored, applied, retried and replayed."""
