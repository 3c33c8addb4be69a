"""A short siege: what `make crash-test` does at length; about 50 seconds."""

import os
import random
from pathlib import Path

import pytest
from tests.crash.siege import Size
from tests.crash.stage import besiege
from tests.crash.strikes import Kind
from tests.crash.table import tables

KILLS = 10
SIZE = Size(
    kills=KILLS,
    people=800,
    campaign_size=400,
    rate_per_second=10,
    # Without strikes that need long waits: a worker's long stop, a server's restart, a 429.
    kinds=(Kind.WORKER_KILLED, Kind.WORKER_TERMINATED, Kind.BACKEND_TERMINATED, Kind.REDIS_EMPTIED),
    meddles=False,
    throttles=False,
    settle_seconds=160,
)


@pytest.mark.timeout(260)
async def test_kills_at_every_step_neither_double_nor_lose(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**31)))
    print(f"SEED={seed}")  # noqa: T201 - so that a failure can be repeated

    outcome = await besiege(tmp_path, seed=seed, size=SIZE)

    assert outcome.verdict.is_clean, tables(outcome.strikes, outcome.verdict)
    assert sum(strike.counts for strike in outcome.strikes) >= KILLS
    assert outcome.verdict.figures["recipients"] == SIZE.people
