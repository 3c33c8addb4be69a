"""Webhooks out: who is told of what happens, under which secret, and whether they still answer."""
