"""Count how many people reach a stage of the funnel within N days after their first message."""
