"""Routes of insight: measures, attribution, costs, holdouts, engagement and the first screen."""
