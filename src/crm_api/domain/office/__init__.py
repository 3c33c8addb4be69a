"""The work of the office: the inbox."""
