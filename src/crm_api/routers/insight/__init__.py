"""Routes of insight: attribution, measures, costs and holdouts."""
