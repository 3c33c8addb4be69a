"""Templates: saved message bodies that campaigns copy."""
