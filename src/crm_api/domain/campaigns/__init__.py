"""Campaigns, their audience and their recipients."""
