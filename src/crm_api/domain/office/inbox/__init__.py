"""The inbox: conversations as work, with state, unread messages and assignee."""
