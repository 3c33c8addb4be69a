"""Random histories of consent with wrong clocks, compared with a model.

They show that no message is sent after an opt-out. With ``CONSENT_SHRINK=1`` a failing history is
reduced, which may take minutes. For a longer run:

``CONSENT_SEED=7 CONSENT_EXAMPLES=200 pytest tests/properties/test_consent.py``
"""

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
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
EVERY_KIND_FROM = 60
"""From this number of histories on, every kind of message must be sent at least once.

In fewer histories, a kind may be missing by chance.
"""
KINDS = {"campaign", "manual", "confirmation", "help"}
ERROR = st.one_of(st.just(0), st.integers(-DAY, DAY))
"""Error of a clock in minutes; often 0, so that some histories have only one wrong clock."""


@dataclass(frozen=True)
class PersonWrites:
    """A step in which a person sends a message.

    Attributes:
        error: Error of the provider's clock, in minutes.
        late: Number of steps until the message is delivered.
        again: Whether the message is delivered twice: by the same event, or by another event.
    """

    word: Word
    error: int
    late: int
    again: str | None


@dataclass(frozen=True)
class UserActs:
    """A step in which a user makes a decision, or sends the person a message if ``act`` is None."""

    act: Act | None
    by_flag: bool


@dataclass(frozen=True)
class Step:
    """One act, the time since the previous act, and whether the worker runs after it."""

    happens: PersonWrites | UserActs
    minutes: int
    applies: bool


PERSON_WRITES = st.builds(
    PersonWrites,
    word=st.sampled_from(Word),
    error=ERROR,
    late=st.sampled_from([0, 0, 0, 1, 2, 4]),
    again=st.sampled_from([None, None, "event", "text"]),
)
USER_ACTS = st.builds(UserActs, act=st.sampled_from([None, *Act]), by_flag=st.booleans())
STEPS = st.builds(
    Step,
    happens=st.one_of(PERSON_WRITES, PERSON_WRITES, USER_ACTS),
    minutes=st.sampled_from([1, 1, 7, 60, 300, DAY]),
    applies=st.sampled_from([True, True, True, False]),
)


class History:
    """Runs the steps of one history, and checks the result after the steps."""

    def __init__(self, world: ConsentWorld) -> None:
        self._world = world
        self._under_way: list[tuple[int, int, PersonWrites, datetime]] = []

    async def run(self, steps: list[Step]) -> None:
        await self._world.begin()
        for position, step in enumerate(steps):
            await self._world.pass_time(timedelta(minutes=step.minutes))
            await self._do(position, step.happens)
            await self._deliver(position)
            if step.applies:
                await self._check()
        await self._deliver(len(steps) + 10)
        await self._check()

    async def _do(self, position: int, happens: PersonWrites | UserActs) -> None:
        if isinstance(happens, PersonWrites):
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
        for _, number, received, at in due:
            claimed = at + timedelta(minutes=received.error)
            events = [f"EV{number}"]
            if received.again is not None:
                events.append(f"EV{number}" + ("again" if received.again == "text" else ""))
            for event in events:
                await self._world.deliver(
                    f"AC{number}", received.word, claimed=claimed, event=event
                )

    async def _check(self) -> None:
        """Let the worker apply events and send messages, then compare the result with the model."""
        world, model = self._world, self._world.model
        await world.apply()
        passed = await world.send()
        assert not (model.is_out and {"campaign", "manual"}.intersection(passed)), passed
        assert world.sent.get("confirmation", 0) <= model.confirmations
        assert world.sent.get("help", 0) <= model.helps
        assert await world.flags() == model.expected_flags


class Processes:
    """The web process and the worker, which all examples share."""

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

    async def run(self, errors: Errors, steps: list[Step]) -> None:
        """Run one history in empty tables."""
        await empty_tables(self._engine)
        await _put_state(self._app, self._settings, self.new_uow, self._queue, self._provider)
        await self._app.state.intake.start()
        try:
            async with _client(self._app) as client:
                world = ConsentWorld(client, self.new_uow, self.deps, errors)
                await History(world).run(steps)
            self.sent.update(world.sent)
        finally:
            await self._app.state.intake.close()

    async def close(self) -> None:
        await self._provider.aclose()
        await self._engine.dispose()


def play_examples(drawn_seed: int, processes: Processes, runner: asyncio.Runner) -> None:
    @seed(drawn_seed)
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if SHRINKS else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(web=ERROR, worker=ERROR, steps=st.lists(STEPS, min_size=3, max_size=MOST_STEPS))
    def run(web: int, worker: int, steps: list[Step]) -> None:
        errors = Errors(web=timedelta(minutes=web), worker=timedelta(minutes=worker))
        try:
            runner.run(processes.run(errors, steps))
        except BaseException:
            print(errors, *steps, sep="\n")  # noqa: T201 - the history that failed
            raise

    run()


@pytest.mark.timeout(0)
def test_no_message_is_sent_after_an_opt_out_with_wrong_clocks(
    database_url: str,
    committed_db: AsyncEngine,  # noqa: ARG001 - empties the tables afterwards
    settings: Settings,
) -> None:
    drawn_seed = int(os.environ.get("CONSENT_SEED", random.SystemRandom().randrange(2**31)))
    print(f"CONSENT_SEED={drawn_seed} CONSENT_EXAMPLES={EXAMPLES}")  # noqa: T201 - to repeat it
    with capture_logs(), asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        processes = runner.run(Processes.open(database_url, settings))
        try:
            play_examples(drawn_seed, processes, runner)
            assert processes.sent["campaign"], "no campaign message was sent, so nothing was tested"
            assert EXAMPLES < EVERY_KIND_FROM or set(processes.sent) == KINDS, processes.sent
        finally:
            runner.run(processes.close())
