"""Funnel and cohorts: the stages that people reach within N days of their first message."""
