"""Routes of campaigns, their recipients, and message templates."""
