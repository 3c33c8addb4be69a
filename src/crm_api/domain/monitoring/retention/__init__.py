"""Create the monthly partitions of large tables ahead, and archive and drop old partitions."""
