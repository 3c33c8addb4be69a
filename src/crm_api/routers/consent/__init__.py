"""Routes that return consent proofs and the legal rules."""
