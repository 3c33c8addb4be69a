"""Messages that remind people of their appointments."""
