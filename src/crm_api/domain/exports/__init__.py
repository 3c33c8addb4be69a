"""CSV going out: written by the database, a few thousand rows at a time."""
