"""A short `make chaos`: two faults, one after the other, in one company; about 25 seconds."""

import os
import random
from pathlib import Path

import pytest
from tests.chaos import page
from tests.chaos.faults import Fault, redis_killed, worker_reset
from tests.chaos.stage import make_template
from tests.chaos.trial import attempt

FAULTS = (
    Fault(name="Redis killed", strike=redis_killed),
    Fault(name="worker's connections reset", strike=worker_reset),
)


@pytest.mark.timeout(300)
async def test_two_faults_leave_every_invariant_whole(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**31)))
    print(f"SEED={seed}")  # noqa: T201 - so that a failure can be repeated
    await make_template(tmp_path / "template")

    trials = await attempt(FAULTS, folder=tmp_path, template=tmp_path / "template", seed=seed)

    assert all(trial.is_clean for trial in trials), page.table(trials)
    assert trials[0].figures["texts accepted"] > 0
