"""The work of the office: the inbox, the search in messages, and saved replies."""
