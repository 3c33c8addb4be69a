"""Web push: the devices that show notices to users, and encrypted messages to these devices."""
