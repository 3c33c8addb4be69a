"""The send ledger: every attempt to send a message, from the claim to the delivery report."""
