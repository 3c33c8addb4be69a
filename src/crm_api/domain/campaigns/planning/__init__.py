"""Plan what may be sent now, and when more may be sent."""
