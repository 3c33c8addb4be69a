"""Skip tests whose tools are not installed; in the CI run, fail them."""

import os
from typing import NoReturn

import pytest

NEEDED = "CRM_TESTS_NEED_CHROMIUM"
"""The variable that `.ci/run` sets. With it, Chromium, Node and their packages must be there."""


def end_without(reason: str) -> NoReturn:
    """End the test: as skipped, with the reason, or as failed in the CI run."""
    if NEEDED in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)
