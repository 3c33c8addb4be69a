"""Routes that show what campaigns achieve and cost, and what the office has to do today."""
