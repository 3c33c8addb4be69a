"""The launch check: show what would happen if a campaign were started now."""
