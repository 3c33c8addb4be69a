"""A short form of `make crash-test`, which takes about 50 seconds."""

import os
import random
from pathlib import Path

import pytest
from tests.crash.crash_run import Size
from tests.crash.kills import Kind
from tests.crash.runner import run_crash_test
from tests.crash.table import tables

KILLS = 10
SIZE = Size(
    counted_kills=KILLS,
    people=800,
    campaign_size=400,
    rate_per_second=10,
    # Everything that needs a long wait is left out: the long stop of a worker, the restart of a
    # server, and the response 429.
    kinds=(Kind.WORKER_KILLED, Kind.WORKER_TERMINATED, Kind.BACKEND_TERMINATED, Kind.REDIS_EMPTIED),
    has_users_and_server_kills=False,
    throttles=False,
    settle_seconds=160,
)


@pytest.mark.timeout(260)
async def test_kills_at_every_step_neither_duplicate_nor_lose_messages(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**31)))
    print(f"SEED={seed}")  # noqa: T201 - so that a failure can be repeated

    outcome = await run_crash_test(tmp_path, seed=seed, size=SIZE)

    assert outcome.verdict.is_clean, tables(outcome.kills, outcome.verdict)
    assert sum(kill.counts for kill in outcome.kills) >= KILLS
    assert outcome.verdict.figures["recipients"] == SIZE.people
