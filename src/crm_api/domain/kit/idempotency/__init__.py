"""Idempotency keys: a request that is repeated with its key gets the stored first response."""
