"""List, export and review the recipients of a campaign, and settle their unclear attempts.

An attempt is unclear if it is unknown whether the provider sent the message. After a restore from a
backup, recipients who may already have got their message are put in review or skipped.
"""
