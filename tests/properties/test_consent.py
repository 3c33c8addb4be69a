"""Histories of consent with wrong clocks, against a model: nothing is sent after an opt-out.

``CONSENT_SEED=7 CONSENT_EXAMPLES=200 pytest tests/properties/test_consent.py`` is the long form.
With ``CONSENT_SHRINK=1`` a failing history is made smaller, which may take minutes.
"""

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as drawn_with
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from tests.conftest import _client, _put_state, empty_tables
from tests.fakes import RecordingQueue
from tests.properties.consent_model import Act, Word
from tests.properties.consent_world import ConsentWorld, Errors

from crm_api.app import build_app
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import open_provider
from crm_api.platform.database import UnitOfWork, create_engine, session_factory
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps

EXAMPLES = int(os.environ.get("CONSENT_EXAMPLES", "12"))
SHRINKS = bool(os.environ.get("CONSENT_SHRINK"))
DAY = 24 * 60
MOST_STEPS = 9
ENOUGH = 60
"""In so many histories every kind of message is sent; fewer may prove nothing."""
KINDS = {"campaign", "manual", "confirmation", "help"}
ERROR = st.one_of(st.just(0), st.integers(-DAY, DAY))
"""Minutes; often none, so that some histories have only one wrong clock."""


@dataclass(frozen=True)
class Text:
    """A person writes.

    Attributes:
        error: Of the provider's clock, in minutes.
        late: Steps until it is delivered.
        again: It is delivered twice: the same event, or another event of the same message.
    """

    word: Word
    error: int
    late: int
    again: str | None


@dataclass(frozen=True)
class Office:
    """The office decides, or writes to the person if ``act`` is None."""

    act: Act | None
    by_flag: bool


@dataclass(frozen=True)
class Step:
    """One event, the time since the previous one, and whether the worker runs after it."""

    happens: Text | Office
    minutes: int
    applies: bool


TEXTS = st.builds(
    Text,
    word=st.sampled_from(Word),
    error=ERROR,
    late=st.sampled_from([0, 0, 0, 1, 2, 4]),
    again=st.sampled_from([None, None, "event", "text"]),
)
DECISIONS = st.builds(Office, act=st.sampled_from([None, *Act]), by_flag=st.booleans())
STEPS = st.builds(
    Step,
    happens=st.one_of(TEXTS, TEXTS, DECISIONS),
    minutes=st.sampled_from([1, 1, 7, 60, 300, DAY]),
    applies=st.sampled_from([True, True, True, False]),
)


class History:
    """Plays the steps, and checks after each of them."""

    def __init__(self, world: ConsentWorld) -> None:
        self._world = world
        self._under_way: list[tuple[int, int, Text, datetime]] = []

    async def play(self, steps: list[Step]) -> None:
        await self._world.begin()
        for position, step in enumerate(steps):
            await self._world.pass_time(timedelta(minutes=step.minutes))
            await self._happen(position, step.happens)
            await self._deliver(position)
            if step.applies:
                await self._look()
        await self._deliver(len(steps) + 10)
        await self._look()

    async def _happen(self, position: int, happens: Text | Office) -> None:
        if isinstance(happens, Text):
            self._under_way.append(
                (position + happens.late, position, happens, await self._world.now())
            )
        elif happens.act is None:
            await self._world.write()
        else:
            await self._world.decide(happens.act, by_flag=happens.by_flag)

    async def _deliver(self, position: int) -> None:
        due = [one for one in self._under_way if one[0] <= position]
        self._under_way = [one for one in self._under_way if one[0] > position]
        for _, number, said, at in due:
            claimed = at + timedelta(minutes=said.error)
            events = [f"EV{number}"]
            if said.again is not None:
                events.append(f"EV{number}" + ("again" if said.again == "text" else ""))
            for event in events:
                await self._world.deliver(f"AC{number}", said.word, claimed=claimed, event=event)

    async def _look(self) -> None:
        """Let the worker apply and send; compare with the model."""
        world, model = self._world, self._world.model
        await world.apply()
        passed = await world.send()
        assert not (model.is_out and {"campaign", "manual"}.intersection(passed)), passed
        assert world.sent.get("confirmation", 0) <= model.confirmations
        assert world.sent.get("help", 0) <= model.helps
        assert await world.flags() == model.standing


class Processes:
    """The web process and the worker, for all examples."""

    def __init__(self, settings: Settings, engine: AsyncEngine) -> None:
        self._settings = settings
        self._engine = engine
        self._queue = RecordingQueue()
        self.sent = Counter[str]()
        self._app = build_app(settings)
        sessions = session_factory(engine)
        self.new_uow = lambda: UnitOfWork(sessions, self._queue)
        self._provider = open_provider(settings)
        self.deps = Deps(
            settings=settings,
            new_uow=self.new_uow,
            queue=self._queue,
            provider=self._provider,
            limiter=Limiter(rate_per_second=8),
            times=SendTimes.from_settings(settings),
            rules=NO_RULES,
            secret=settings.require_secret_key(),
        )

    @classmethod
    async def open(cls, database_url: str, settings: Settings) -> "Processes":
        return cls(settings, create_engine(database_url, pool_size=8, application="consent"))

    async def play(self, errors: Errors, steps: list[Step]) -> None:
        """Play one history in empty tables."""
        await empty_tables(self._engine)
        await _put_state(self._app, self._settings, self.new_uow, self._queue, self._provider)
        await self._app.state.intake.start()
        try:
            async with _client(self._app) as client:
                world = ConsentWorld(client, self.new_uow, self.deps, errors)
                await History(world).play(steps)
            self.sent.update(world.sent)
        finally:
            await self._app.state.intake.close()

    async def close(self) -> None:
        await self._provider.aclose()
        await self._engine.dispose()


def play_examples(chosen: int, processes: Processes, runner: asyncio.Runner) -> None:
    @seed(chosen)
    @drawn_with(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if SHRINKS else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(web=ERROR, worker=ERROR, steps=st.lists(STEPS, min_size=3, max_size=MOST_STEPS))
    def play(web: int, worker: int, steps: list[Step]) -> None:
        errors = Errors(web=timedelta(minutes=web), worker=timedelta(minutes=worker))
        try:
            runner.run(processes.play(errors, steps))
        except BaseException:
            print(errors, *steps, sep="\n")  # noqa: T201 - the history that failed
            raise

    play()


@pytest.mark.timeout(0)
def test_nothing_is_sent_after_an_opt_out_whatever_the_clocks_show(
    database_url: str,
    committed_db: AsyncEngine,  # noqa: ARG001 - empties the tables afterwards
    settings: Settings,
) -> None:
    chosen = int(os.environ.get("CONSENT_SEED", random.SystemRandom().randrange(2**31)))
    print(f"CONSENT_SEED={chosen} CONSENT_EXAMPLES={EXAMPLES}")  # noqa: T201 - to repeat it
    with capture_logs(), asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        processes = runner.run(Processes.open(database_url, settings))
        try:
            play_examples(chosen, processes, runner)
            assert processes.sent["campaign"], "no campaign message was sent, so nothing was tested"
            assert EXAMPLES < ENOUGH or set(processes.sent) == KINDS, processes.sent
        finally:
            runner.run(processes.close())
