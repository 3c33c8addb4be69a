"""The event log: every area writes events, which clients and webhook endpoints receive."""
