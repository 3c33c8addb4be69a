"""CSV in, streamed."""
