"""Messages and calls with contacts: lines, conversations, media files and attempts to send."""
