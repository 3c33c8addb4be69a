"""Protect spreadsheets from formulas in the cells of CSV files."""

import re

FORMULA_STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""The characters with which a formula begins.

The last four are full-width forms, which some spreadsheets treat like the ASCII characters.
"""
E164 = r"^\+[0-9]{7,15}$"
"""Matches a phone number, which begins with a plus but is not a formula."""


def csv_safe(value: str) -> str:
    """Put a quote before a cell that a spreadsheet would run as a formula, except phone numbers."""
    if value.startswith(tuple(FORMULA_STARTS)) and not re.fullmatch(E164, value):
        return "'" + value
    return value
