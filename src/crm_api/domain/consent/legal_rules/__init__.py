"""Legal rules about when messages may be sent, as data, and their evaluation."""
