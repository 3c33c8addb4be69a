"""Erase a person: remove the personal data, and block the phone numbers.

Consent decisions stay. Rows that are counted in statistics stay too, without personal data.
"""
