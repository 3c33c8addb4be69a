"""HTTP routes of the office's work: the inbox."""
