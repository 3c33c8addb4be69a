"""HTTP routes for conversations, messages, calls, media, lines and the company's settings."""
