"""Plan which messages may be sent now, and find when the next ones may be sent."""
