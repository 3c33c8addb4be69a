"""List, export and review the recipients of a campaign, and settle their unclear attempts.

To settle an unclear attempt is to decide whether its message was sent. This package also ensures
that a campaign sends no message twice after the database was restored from a backup.
"""
