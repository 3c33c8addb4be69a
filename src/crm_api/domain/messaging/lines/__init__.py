"""Lines, and how many messages each may still send today."""
