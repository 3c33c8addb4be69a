"""Import do-not-contact uploads: lists of phone numbers that must not get messages."""
