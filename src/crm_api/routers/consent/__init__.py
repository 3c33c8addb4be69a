"""Routes of consent and the legal rules."""
