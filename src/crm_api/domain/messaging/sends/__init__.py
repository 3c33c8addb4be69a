"""The send ledger: every attempt to send a message, from claim to delivery."""
