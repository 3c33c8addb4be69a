"""The inbox: conversations with their state, their unread messages and their assignee."""
