"""List, export and review the recipients of a campaign, and settle unclear messages to them.

After a restore from a backup, recipients who may already have got their message are put in review
or skipped.
"""
