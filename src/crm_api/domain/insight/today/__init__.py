"""The first screen of the console, in one response: what waits, what is due and what runs."""
