"""Numbers that the provider refuses because the person opted out at the provider."""
