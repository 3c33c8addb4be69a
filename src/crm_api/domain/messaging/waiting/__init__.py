"""Store which people wait for an answer, and since when."""
