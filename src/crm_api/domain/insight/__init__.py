"""Find out what messages earn: attribution, measures, costs and holdouts."""
