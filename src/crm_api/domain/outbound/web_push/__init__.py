"""Web push: the devices of users that show notices, and encrypted messages to them."""
