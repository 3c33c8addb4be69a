"""What is stored sealed: the root secret, and moving all of it to another secret key."""
