"""What came of messages, in money and dates: the ledger of outcomes."""
