"""Simulation of OpenPhone: the provider that ``up`` and the tests use without an API key."""
