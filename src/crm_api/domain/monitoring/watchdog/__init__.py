"""Find problems that no person has reported, and raise alerts about them."""
