"""Own numbers that send, and what each may still send today."""
