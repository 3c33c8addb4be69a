"""Routes of received webhooks, webhook health checks, and reconciliation runs.

A reconciliation run compares our messages and phone calls with those at the provider.
"""
