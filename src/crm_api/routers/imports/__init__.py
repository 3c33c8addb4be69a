"""Routes of contact imports and do-not-contact uploads."""
