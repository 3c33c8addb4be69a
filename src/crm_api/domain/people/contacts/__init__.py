"""Create, find, change, delete and export contacts, and decide about their consent."""
