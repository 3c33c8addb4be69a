"""Compute the results of messages: measures, attribution, funnel and engagement.

The package also stores costs, plans holdouts (tests in which some people get no messages), and
reads the data of the console's first screen.
"""
