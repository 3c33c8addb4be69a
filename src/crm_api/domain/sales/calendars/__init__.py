"""Offer appointments in the iCalendar format, as files and as feeds."""
