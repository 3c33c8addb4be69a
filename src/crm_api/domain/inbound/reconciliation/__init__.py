"""Compare the provider's data with the stored data, and fill the gaps."""
