"""Funnel and cohorts: how many people reach a stage within N days after their first message."""
