"""The main job in one command: from a CSV to the replies, over the public API."""
