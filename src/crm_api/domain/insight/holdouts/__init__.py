"""Holdouts: tests in which some people get no campaign messages, to measure their effect.

The plan of a holdout says how many messages will not be sent, and when its result can be expected.
"""
