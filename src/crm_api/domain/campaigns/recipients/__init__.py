"""Recipients of a campaign: list, export, review, settle, protect after a restore."""
