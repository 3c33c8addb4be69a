"""HTTP routes of the office's work: the inbox, the search in messages, and saved replies."""
