"""Tasks of users. A task has a deadline, and may be about a contact or a conversation."""
