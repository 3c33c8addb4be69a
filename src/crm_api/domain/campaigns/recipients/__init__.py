"""List, export, review and settle the recipients of a campaign; exclude some after a restore."""
