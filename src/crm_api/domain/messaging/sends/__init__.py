"""The send ledger: every attempt to send a message, from its reservation to the delivery report."""
