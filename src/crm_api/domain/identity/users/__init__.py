"""People who sign in: users with roles, their sessions, invitations and passwords."""
