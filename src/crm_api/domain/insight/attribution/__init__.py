"""Attribution: which campaign messages an outcome is credited to, by versioned rules."""
