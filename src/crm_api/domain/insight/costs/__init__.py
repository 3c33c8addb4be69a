"""Costs that the office enters: prices of lists, hours of work, other costs."""
