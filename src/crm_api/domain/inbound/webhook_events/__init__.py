"""The ledger of received events, and what each of them changes."""
