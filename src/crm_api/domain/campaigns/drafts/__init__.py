"""Drafts of campaigns: create, change, copy and delete them, and check them before the start."""
