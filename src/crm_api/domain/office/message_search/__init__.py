"""List the messages of all conversations, and search the words that people wrote."""
