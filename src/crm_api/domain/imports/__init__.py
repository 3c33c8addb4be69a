"""Files in and out: contacts, suppression lists, exports."""
