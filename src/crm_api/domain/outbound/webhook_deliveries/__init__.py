"""Deliveries of events to webhook endpoints: one per event and endpoint, retried after failures."""
