"""Do-not-contact uploads: lists of numbers that must not get messages."""
