"""What colleagues write down about a person."""
