"""Holdouts: groups of people who get no campaign message, to measure the effect of messages.

A holdout is planned with its cost and the date at which its result can be expected.
"""
