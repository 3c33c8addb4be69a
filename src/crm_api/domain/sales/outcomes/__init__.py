"""The ledger of outcomes: facts that are recorded once and never changed.

A mistake is corrected by a second row, which reverses the first.
"""
