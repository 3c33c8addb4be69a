"""Costs that the office enters: prices of lists, hours, other costs."""
