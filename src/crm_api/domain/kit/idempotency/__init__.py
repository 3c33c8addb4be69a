"""Idempotency keys: a request that is repeated with the same key gets the first response again."""
