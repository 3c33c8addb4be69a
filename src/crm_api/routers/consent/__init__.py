"""Routes for the consent decisions about a phone number, and for the legal rules."""
