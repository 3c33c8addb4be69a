"""Tasks of the office: what somebody must do, until when, and for whom."""
