"""Statistics of campaigns, A/B tests, and the rate limits that pause a campaign."""
