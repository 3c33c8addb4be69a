"""Compute the results of messages: measures, attribution, funnel and engagement.

The package also stores costs and holdouts, and reads the data of the console's first screen.
"""
