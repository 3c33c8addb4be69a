"""The calendar of campaigns, of their occurrences, and of the messages that are planned."""
