"""Lines (the company's phone numbers at the provider) and their daily limits."""
