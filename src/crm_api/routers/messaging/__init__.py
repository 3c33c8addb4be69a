"""Routes of conversations, messages, calls, media and lines."""
