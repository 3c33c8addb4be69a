"""Media files (pictures, recordings, voicemail): download them, store each once, serve them."""
