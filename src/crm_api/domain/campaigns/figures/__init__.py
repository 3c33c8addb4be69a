"""Figures of campaigns: statistics, A/B tests, and the limits that pause a campaign."""
