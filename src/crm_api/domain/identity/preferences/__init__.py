"""What each user sets for himself or herself: preferences and saved views."""
