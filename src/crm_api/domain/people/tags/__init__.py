"""Count tags over all contacts, change the tags of many contacts in one request, rename tags."""
