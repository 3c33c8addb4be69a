"""The database tables of the area ``people``."""
