"""Sales: appointments, quotes and invoices, and the outcomes that they lead to."""
