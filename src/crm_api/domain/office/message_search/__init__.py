"""List the messages of all conversations, and search the messages that people wrote."""
