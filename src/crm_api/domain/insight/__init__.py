"""Find out what messages earn: measures, attribution, costs, holdouts; and the first screen."""
