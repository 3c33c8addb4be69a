"""The inbox: conversations, each with a state, unread messages and an assignee (a user)."""
