"""Routes to sign in, to manage users and API keys, and to read the audit log."""
