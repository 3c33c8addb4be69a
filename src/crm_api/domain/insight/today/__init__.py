"""What waits, what is due and what runs: one answer for the first screen of the day."""
