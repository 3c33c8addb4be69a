"""Sales: appointments, quotes, invoices, the outcomes of all three, and calendars."""
