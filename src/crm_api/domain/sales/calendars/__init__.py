"""Appointments as iCalendar: files and feeds."""
