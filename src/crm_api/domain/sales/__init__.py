"""Appointments, quotes, invoices, their outcomes, and calendars."""
