"""What the messages earn: attribution, measures, costs and holdouts."""
