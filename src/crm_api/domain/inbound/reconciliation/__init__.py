"""Compare the provider's messages and calls with the stored ones, and store what is missing."""
