"""The durable, ordered log of events that clients follow."""
