"""Drafts: create, change, copy, and check before the start."""
