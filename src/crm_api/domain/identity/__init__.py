"""Users, sessions, invitations and API keys."""
