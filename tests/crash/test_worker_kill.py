"""Kill the worker at random moments of a campaign, and compare with the provider's log.

In the end every recipient has exactly one message in the sandbox's log, and the database agrees.
"""

import os
import random
from pathlib import Path

import pytest
from tests.crash.harness import scene

RECIPIENTS = 1_000
KILLS = 20
FAULTS = {"500_after": 0.03, "reset_after": 0.03, "500_before": 0.02, "202_without_id": 0.01}
SECONDS = 300.0

pytestmark = pytest.mark.timeout(SECONDS + 60)


@pytest.fixture
def chance() -> random.Random:
    """Use a new seed each time and print it; CRASH_SEED repeats a run."""
    seed = int(os.environ.get("CRASH_SEED", random.SystemRandom().randrange(2**31)))
    print(f"CRASH_SEED={seed}")  # noqa: T201 - so that a failure can be repeated
    return random.Random(seed)  # noqa: S311 - repeatable, no secret


async def test_killed_worker_neither_doubles_nor_loses(
    tmp_path: Path, chance: random.Random
) -> None:
    async with scene(tmp_path, rate_per_second=40, seconds=SECONDS) as stage:
        await stage.start_campaign(RECIPIENTS)
        for kind, probability in FAULTS.items():
            await stage.add_fault(kind, probability)
        stage.worker.start()

        kills = await stage.kill_at_random(chance, KILLS, within=0.8)
        statuses = await stage.wait_until_settled()

        texts = await stage.texts_by_recipient()
        assert kills >= KILLS, f"{kills} kills met something in flight"
        assert statuses == {"sent": RECIPIENTS}
        assert len(texts) == RECIPIENTS
        assert set(texts.values()) == {1}


async def test_emptied_redis_loses_nothing(tmp_path: Path, chance: random.Random) -> None:
    async with scene(tmp_path, rate_per_second=60, seconds=SECONDS) as stage:
        await stage.start_campaign(300)
        stage.worker.start()
        for _ in range(3):
            await stage.wait_for_work()
            await stage.empty_redis()
            await stage.pause(chance.uniform(0.2, 1.0))

        statuses = await stage.wait_until_settled()

        texts = await stage.texts_by_recipient()
        assert statuses == {"sent": 300}
        assert len(texts) == 300
        assert set(texts.values()) == {1}


async def test_sigterm_ends_calls_and_gives_claims_back(tmp_path: Path) -> None:
    async with scene(tmp_path, rate_per_second=40, seconds=SECONDS) as stage:
        await stage.start_campaign(400)
        stage.worker.start()
        await stage.wait_for_work()

        code = stage.worker.terminate()

        statuses = await stage.statuses()
        assert code == 0
        assert await stage.in_flight() == 0
        assert set(statuses) <= {"pending", "sent"}
        assert statuses["sent"] == len(await stage.texts_by_recipient())
