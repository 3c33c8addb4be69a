"""`make load`: simulate a busy day of a company in a few minutes, with the real processes."""
