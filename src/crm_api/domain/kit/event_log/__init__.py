"""The event log that every area writes to."""
