"""The ledger of outcomes: facts that are recorded once, never changed, and reversed by a row."""
