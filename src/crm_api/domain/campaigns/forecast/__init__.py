"""When a campaign will be finished, and which rule binds."""
