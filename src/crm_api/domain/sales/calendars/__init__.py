"""Appointments as iCalendar: files, feeds, and calendars of other servers."""
