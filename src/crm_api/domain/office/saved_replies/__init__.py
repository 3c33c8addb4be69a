"""Saved replies: messages that users send often, and the effects of using one."""
