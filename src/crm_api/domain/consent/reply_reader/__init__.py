"""The reader of replies: what a reply says about consent, and what kind of reply it is."""
