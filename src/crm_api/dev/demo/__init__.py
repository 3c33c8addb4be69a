"""The demo: it runs one complete campaign over the public API, from a CSV file to the replies."""
