"""Notify users by mail and web push: of waiting replies, mentions in notes, and due tasks."""
