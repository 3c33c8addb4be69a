"""Tasks of the office: what a user must do, until when, and about which contact."""
