"""Holdouts: groups of people who get no campaign message, to measure the effect of messages.

The plan of a holdout says how many messages will not be sent, and when its result can be expected.
"""
