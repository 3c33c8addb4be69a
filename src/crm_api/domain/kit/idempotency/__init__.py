"""Repeatable requests: the answer is stored in the transaction of the request's effect."""
