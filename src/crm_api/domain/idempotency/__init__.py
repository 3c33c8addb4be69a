"""Requests that may be sent again: the answer to each is kept in the transaction of its effect."""
