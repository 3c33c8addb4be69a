"""A short form of `make chaos`: five faults in three installations, which take about 90 seconds."""

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
    decisions_under_wrong_api_clock,
    everything_killed_once,
    redis_killed,
    worker_reset,
)
from tests.chaos.installation import make_template
from tests.chaos.machine import Need, find_clock_library
from tests.chaos.pauses import end_by_unblocking, pause_for_a_year
from tests.chaos.trial import Trial, run_faults

FAULTS = (
    Fault(name="Redis killed", run=redis_killed),
    Fault(name="worker's connections reset", run=worker_reset),
    Fault(
        name="provider asks for a pause of a year",
        run=partial(pause_for_a_year, seconds=2.0, end=end_by_unblocking),
    ),
)
WRONG_CLOCK = Fault(
    name="API's clock a day ahead, people opt out and in",
    run=decisions_under_wrong_api_clock(DAY),
    need=Need.API_CLOCK,
)
ALL_KILLED = Fault(name="everything killed", run=everything_killed_once, need=Need.UP)


@pytest.fixture
def folder() -> Iterator[Path]:
    # The path must be short, because the length of a socket's path is limited.
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as found:
        Path(found).chmod(0o711)
        yield Path(found)


async def run_in_one_installation(faults: tuple[Fault, ...], folder: Path) -> list[Trial]:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**31)))
    print(f"SEED={seed}")  # noqa: T201 - so that a failure can be repeated
    await make_template(folder / "template")
    return await run_faults(faults, folder=folder, template=folder / "template", seed=seed)


@pytest.mark.timeout(400)
async def test_three_faults_violate_no_invariant(folder: Path) -> None:
    trials = await run_in_one_installation(FAULTS, folder)

    assert all(trial.is_clean for trial in trials), page.table(trials)
    assert trials[0].figures["messages accepted"] > 0
    assert "31536000 s asked for" in trials[2].reported[0]


@pytest.mark.timeout(400)
async def test_api_whose_clock_is_a_day_ahead_keeps_every_consent_decision(folder: Path) -> None:
    if find_clock_library() is None:
        pytest.skip("libfaketime is not installed")

    trials = await run_in_one_installation((WRONG_CLOCK,), folder)

    assert all(trial.is_clean for trial in trials), page.table(trials)


@pytest.mark.timeout(400)
async def test_up_starts_immediately_after_everything_was_killed(folder: Path) -> None:
    trials = await run_in_one_installation((ALL_KILLED,), folder)

    assert all(trial.is_clean for trial in trials), page.table(trials)
    assert trials[0].figures["messages accepted"] > 0
