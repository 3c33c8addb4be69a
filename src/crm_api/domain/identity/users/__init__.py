"""Users who sign in: their roles, sessions, invitations and passwords."""
