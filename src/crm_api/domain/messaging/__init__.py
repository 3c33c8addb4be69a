"""Lines, conversations, messages, calls, media and the send ledger."""
