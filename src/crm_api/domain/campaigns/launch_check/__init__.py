"""What would happen if a campaign were started now."""
