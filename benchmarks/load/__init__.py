"""`make load`: a day of a busy company in a few minutes, through the API and the real processes."""
