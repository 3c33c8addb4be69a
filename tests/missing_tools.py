"""Skip tests whose tools are not installed; in the CI run, let these tests fail."""

import os
from typing import NoReturn

import pytest

NEEDED = "CRM_TESTS_NEED_CHROMIUM"
"""Environment variable that `.ci/run` sets.

If it is set, a test that misses Chromium, Node or one of their packages fails.
"""


def end_without(reason: str) -> NoReturn:
    """End the test with this reason: skip it; in the CI run, fail it."""
    if NEEDED in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)
