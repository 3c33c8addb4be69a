"""The root secret, and re-encryption of stored values with another secret key."""
