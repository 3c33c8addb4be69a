"""Read the root secret, and encrypt stored values again when the secret key was replaced."""
