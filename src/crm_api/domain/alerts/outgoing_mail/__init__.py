"""Mail to one person, such as an invitation; it is stored first and sent in the background."""
