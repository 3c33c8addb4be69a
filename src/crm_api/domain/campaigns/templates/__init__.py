"""Message bodies in Liquid, and templates: saved bodies that campaigns copy."""
