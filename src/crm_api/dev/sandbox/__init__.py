"""Simulation of OpenPhone, which `crm-api up` and the tests use if there is no API key."""
