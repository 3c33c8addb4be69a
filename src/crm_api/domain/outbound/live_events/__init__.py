"""The stored, ordered log of events that clients follow."""
