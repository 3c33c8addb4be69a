"""Alerts, heartbeats and the last run of each schedule."""
