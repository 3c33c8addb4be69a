"""Webhooks out: one delivery per event and endpoint, sent until it arrives."""
