"""People, found by their number; a deleted one keeps its number and can come back."""
