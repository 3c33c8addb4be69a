"""Tags over all contacts: counted, put on and taken off many people at once, renamed."""
