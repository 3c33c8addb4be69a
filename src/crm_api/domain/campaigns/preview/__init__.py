"""Show the messages that a campaign would send, and send test messages."""
