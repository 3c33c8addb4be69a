"""Find out the line type of phone numbers (mobile, landline, VoIP), and store it."""
