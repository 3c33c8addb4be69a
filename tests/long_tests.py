"""Mark tests that `make test-long` runs and `make test` leaves out."""

import os

import pytest

VARIABLE = "CRM_TESTS_LONG"
IS_LONG_RUN = VARIABLE in os.environ
long_test = pytest.mark.skipif(not IS_LONG_RUN, reason="a long test: `make test-long` runs it")
"""For a test that takes long and rarely finds a fault that no short test finds."""
