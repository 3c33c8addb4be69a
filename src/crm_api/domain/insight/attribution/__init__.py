"""Attribution: versioned rules decide which campaign messages are credited with an outcome."""
