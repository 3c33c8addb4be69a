"""Routes of imports and do-not-contact lists."""
