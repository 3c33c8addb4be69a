"""Read what happened on a day, and write the morning's letter about it."""
