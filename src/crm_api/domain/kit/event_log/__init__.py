"""The event log: a record of each change, for clients and webhook endpoints that follow changes."""
