"""Webhooks out: each event a delivery for each endpoint that wants it, sent until it arrives."""
