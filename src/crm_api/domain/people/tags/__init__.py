"""Count tags over all contacts, change them for many contacts at once, and rename them."""
