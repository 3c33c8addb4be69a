"""Quotes and invoices: what a contact was offered, and what the contact owes."""
