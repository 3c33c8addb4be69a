"""Media files (pictures, recordings, voicemail): download, store once by content, and serve."""
