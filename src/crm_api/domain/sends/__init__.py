"""The send ledger: every text that may leave, from claim to delivery."""
