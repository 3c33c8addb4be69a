"""The send ledger: every attempt to send, from its claim by a worker to the delivery report."""
