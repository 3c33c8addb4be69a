"""Routes of appointments, calendars, quotes, invoices and outcomes."""
