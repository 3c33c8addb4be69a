"""A short `make chaos`: some of its faults, in three companies; about a minute and a half."""

import os
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.chaos import page
from tests.chaos.faults import (
    DAY,
    Fault,
    decided_by_api_clock,
    everything_killed_once,
    redis_killed,
    worker_reset,
)
from tests.chaos.machine import Need, find_clock_library
from tests.chaos.pauses import by_a_person, pause_for_a_year
from tests.chaos.stage import make_template
from tests.chaos.trial import Trial, attempt

FAULTS = (
    Fault(name="Redis killed", strike=redis_killed),
    Fault(name="worker's connections reset", strike=worker_reset),
    Fault(
        name="provider asks for a pause of a year",
        strike=partial(pause_for_a_year, seconds=2.0, end=by_a_person),
    ),
)
WRONG_CLOCK = Fault(
    name="API's clock a day ahead, people opt out and in",
    strike=decided_by_api_clock(DAY),
    need=Need.API_CLOCK,
)
ALL_KILLED = Fault(name="everything killed", strike=everything_killed_once, need=Need.UP)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short, because the path of a socket is limited.
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as found:
        Path(found).chmod(0o711)
        yield Path(found)


async def run_faults(faults: tuple[Fault, ...], folder: Path) -> list[Trial]:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**31)))
    print(f"SEED={seed}")  # noqa: T201 - so that a failure can be repeated
    await make_template(folder / "template")
    return await attempt(faults, folder=folder, template=folder / "template", seed=seed)


@pytest.mark.timeout(400)
async def test_three_faults_leave_every_invariant_whole(folder: Path) -> None:
    trials = await run_faults(FAULTS, folder)

    assert all(trial.is_clean for trial in trials), page.table(trials)
    assert trials[0].figures["messages accepted"] > 0
    assert "31536000 s asked for" in trials[2].reported[0]


@pytest.mark.timeout(400)
async def test_consent_is_kept_by_an_api_whose_clock_is_a_day_ahead(folder: Path) -> None:
    if find_clock_library() is None:
        pytest.skip("libfaketime is not installed")

    trials = await run_faults((WRONG_CLOCK,), folder)

    assert all(trial.is_clean for trial in trials), page.table(trials)


@pytest.mark.timeout(400)
async def test_up_starts_at_once_after_everything_was_killed(folder: Path) -> None:
    trials = await run_faults((ALL_KILLED,), folder)

    assert all(trial.is_clean for trial in trials), page.table(trials)
    assert trials[0].figures["messages accepted"] > 0
