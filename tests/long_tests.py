"""Marker of the tests that `make test-long` runs and `make test` skips."""

import os

import pytest

VARIABLE = "CRM_TESTS_LONG"
IS_LONG_RUN = VARIABLE in os.environ
long_test = pytest.mark.skipif(not IS_LONG_RUN, reason="a long test: `make test-long` runs it")
"""Marker for a slow test whose faults are usually also found by a short test."""
