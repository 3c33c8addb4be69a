"""Kill the worker at random moments of a campaign, and compare with the provider's log.

In the end, every recipient has exactly one message in the sandbox's log, and the database has the
same messages.
"""

import os
import random
from pathlib import Path

import pytest
from tests.crash.harness import open_installation

RECIPIENTS = 1_000
KILLS = 20
FAULTS = {"500_after": 0.03, "reset_after": 0.03, "500_before": 0.02, "202_without_id": 0.01}
SECONDS = 300.0

pytestmark = pytest.mark.timeout(SECONDS + 60)


@pytest.fixture
def chance() -> random.Random:
    """Return a random generator with a new seed, and print the seed.

    The variable ``CRASH_SEED`` sets the seed, so that a run can be repeated.
    """
    seed = int(os.environ.get("CRASH_SEED", random.SystemRandom().randrange(2**31)))
    print(f"CRASH_SEED={seed}")  # noqa: T201 - so that a failure can be repeated
    return random.Random(seed)  # noqa: S311 - repeatable, no secret


async def test_killed_worker_neither_duplicates_nor_loses_messages(
    tmp_path: Path, chance: random.Random
) -> None:
    async with open_installation(tmp_path, rate_per_second=40, seconds=SECONDS) as installation:
        await installation.start_campaign(RECIPIENTS)
        for kind, probability in FAULTS.items():
            await installation.add_fault(kind, probability)
        installation.worker.start()

        kills = await installation.kill_at_random(chance, KILLS, within=0.8)
        statuses = await installation.wait_until_settled()

        messages = await installation.messages_by_recipient()
        assert kills >= KILLS, f"only {kills} kills while attempts were in flight"
        assert statuses == {"sent": RECIPIENTS}
        assert len(messages) == RECIPIENTS
        assert set(messages.values()) == {1}


async def test_emptied_redis_loses_no_message(tmp_path: Path, chance: random.Random) -> None:
    async with open_installation(tmp_path, rate_per_second=60, seconds=SECONDS) as installation:
        await installation.start_campaign(300)
        installation.worker.start()
        for _ in range(3):
            await installation.wait_for_work()
            await installation.empty_redis()
            await installation.pause(chance.uniform(0.2, 1.0))

        statuses = await installation.wait_until_settled()

        messages = await installation.messages_by_recipient()
        assert statuses == {"sent": 300}
        assert len(messages) == 300
        assert set(messages.values()) == {1}


async def test_sigterm_finishes_calls_and_releases_claims(tmp_path: Path) -> None:
    async with open_installation(tmp_path, rate_per_second=40, seconds=SECONDS) as installation:
        await installation.start_campaign(400)
        installation.worker.start()
        await installation.wait_for_work()

        code = installation.worker.terminate()

        statuses = await installation.statuses()
        assert code == 0
        assert await installation.in_flight() == 0
        assert set(statuses) <= {"pending", "sent"}
        assert statuses["sent"] == len(await installation.messages_by_recipient())
