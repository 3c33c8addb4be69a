"""Read the rows of uploaded files, and give each import to one worker at a time.

This package serves both kinds of imports: contact imports and do-not-contact uploads.
"""
