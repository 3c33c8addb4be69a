"""Import outcomes, quotes and invoices from a file, with dry run and undo."""
