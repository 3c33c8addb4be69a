"""Scheduled jobs: when they run, when they ran, the daily run, and the workers that run them."""
