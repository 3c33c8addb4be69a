"""Synchronise calendars of other servers (CalDAV) with the appointments, in both directions."""
