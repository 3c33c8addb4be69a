"""Messages and calls with contacts: lines, conversations, media files and the send ledger."""
