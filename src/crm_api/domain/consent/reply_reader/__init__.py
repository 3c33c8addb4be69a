"""The reply reader: find out what a reply says about consent, and what kind of reply it is."""
