"""Holdouts measure the effect of campaign messages: some people get none of them.

The plan of a holdout says how many messages will not be sent, and when its result can be expected.
"""
