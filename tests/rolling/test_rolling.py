"""Prove that processes can be replaced under load.

No request fails, and no recipient gets two messages.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rolling.stage import Plan, roll

SHORT = Plan(
    serves=2,
    workers=2,
    rounds=1,
    people=100,
    cap=40,
    rate_per_second=40,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a short path, because the length of a socket's path is limited."""
    path = Path(tempfile.mkdtemp(prefix="crm-roll-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.mark.timeout(1800)
async def test_rolling_restart_fails_no_request_and_sends_nothing_twice(folder: Path) -> None:
    outcome = await roll(folder, SHORT)

    assert [one.name for one in outcome.replacements] == [
        "serve 1",
        "serve 2",
        "worker 1",
        "worker 2",
    ]
    assert outcome.faults == []
    assert outcome.requests.keys() <= {200, 201, 202}, outcome.requests
    assert outcome.webhooks.keys() <= {200}, outcome.webhooks
    assert all(one.passed for one in outcome.replacements)
    assert outcome.webhooks[200] > SHORT.people
    assert outcome.campaign_messages <= SHORT.cap <= outcome.messages
    assert outcome.verdict.is_clean, outcome.verdict
