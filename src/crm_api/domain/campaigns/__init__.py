"""Campaigns: drafts, audiences, recipients, planning, templates, statistics and forecasts."""
