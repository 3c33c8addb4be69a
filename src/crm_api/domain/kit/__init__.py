"""Values and rules that every area shares: errors, paging, phone numbers, time zones."""
