"""Calendars of other servers (CalDAV) that are kept in step with the appointments."""
