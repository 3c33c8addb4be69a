"""API keys: create, check, rotate and revoke them; and the scopes that they grant."""
