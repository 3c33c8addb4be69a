"""Routes of campaigns, recipients and templates."""
