"""Find the line types of phone numbers, offline and with a paid service, and store them."""
