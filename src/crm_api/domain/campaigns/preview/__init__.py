"""Show and test what a campaign would send."""
