"""Erase a person: remove all data except consent decisions and counts; block the phone numbers."""
