"""Notices to users by mail and web push: a reply waits, a note mentions them, a task is due."""
