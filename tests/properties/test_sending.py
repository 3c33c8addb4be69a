"""Random sequences of acts about campaigns, the clock, opt-outs and caps, compared with a model.

For a longer run: ``SENDING_SEED=7 SENDING_EXAMPLES=200 pytest tests/properties``. With
``SENDING_SHRINK=1`` a failing sequence is reduced, which may take minutes.
"""

import asyncio
import os
import random
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from structlog.testing import capture_logs
from tests.properties.machine import Sending
from tests.properties.service import Service

from crm_api.platform import clock, database

EXAMPLES = int(os.environ.get("SENDING_EXAMPLES", "20"))
STEPS = 25
FRESH = "fresh"
"""The usual backend of hypothesis under another name.

With this name, hypothesis draws every example independently. Otherwise, most of a few dozen
examples would be variations of the first examples.
"""
AVAILABLE_PROVIDERS[FRESH] = HypothesisProvider
SHRINKS = bool(os.environ.get("SENDING_SHRINK"))


def set_clocks(monkeypatch: pytest.MonkeyPatch, now: Callable[[], datetime]) -> None:
    """Give the processes and the database the same time, which only the test moves."""

    async def database_now(_: AsyncSession) -> datetime:
        return now()

    monkeypatch.setattr(clock, "now", now)
    monkeypatch.setattr(database, "read_database_now", database_now)


@pytest.mark.timeout(0)
def test_random_sequences_of_acts_and_faults_break_no_sending_rule(
    database_url: str,
    committed_db: AsyncEngine,  # noqa: ARG001 - empties the tables afterwards
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn_seed = int(os.environ.get("SENDING_SEED", random.SystemRandom().randrange(2**31)))
    print(f"SENDING_SEED={drawn_seed} SENDING_EXAMPLES={EXAMPLES}")  # noqa: T201 - to repeat it
    with capture_logs(), asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        service = runner.run(Service.start(database_url, data_dir=tmp_path))

        class World(Sending):
            def __init__(self) -> None:
                super().__init__(service, runner.run, partial(set_clocks, monkeypatch))

        try:
            run_state_machine_as_test(
                seed(drawn_seed)(World),
                settings=settings(
                    max_examples=EXAMPLES,
                    backend=FRESH,
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate, *([Phase.shrink] if SHRINKS else [])],
                    suppress_health_check=list(HealthCheck),
                    verbosity=Verbosity.normal,
                ),
            )
        finally:
            runner.run(service.close())
