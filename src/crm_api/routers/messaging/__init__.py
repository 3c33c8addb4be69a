"""HTTP routes for conversations, messages, calls, media, phone lines and company settings."""
