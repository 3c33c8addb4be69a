"""Mail to single people, stored in the transaction of its cause and sent in the background."""
