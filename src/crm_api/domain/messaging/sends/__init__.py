"""The send ledger: every attempt to send, from its reservation by a worker to its report."""
