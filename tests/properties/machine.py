"""The machine that hypothesis drives: what may happen, in any order."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.properties.acts import Acts, open_line
from tests.properties.campaign import Campaign
from tests.properties.checks import Checks
from tests.properties.driver import NO_WORDS, POINTS, WORDS, BreakIn, Driver
from tests.properties.ending import Ending
from tests.properties.meanwhile import MEANWHILE, Meanwhile
from tests.properties.model import Line, Model, MovedClock
from tests.properties.people import EASTERN, HAWAII, KINDS, Person
from tests.properties.plans import BEGINNINGS, MOST_PEOPLE, LinePlan, Plan, line_plans, plans
from tests.properties.provider import Fault, Provider, Text
from tests.properties.service import OWN_NUMBER, Service

Result = TypeVar("Result")
Run = Callable[[Coroutine[Any, Any, Any]], Any]
SetClock = Callable[[Callable[[], datetime]], None]

MOST_CAMPAIGNS = 3
COUNTED_EVERY = 5
"""Steps from one look at a campaign's figures to the next; in the end all are looked at."""
QUARTER = timedelta(minutes=15)
SEARCHED = 4 * 24 * 3
"""Quarters of an hour in which an edge of somebody's hours is looked for: three days."""
positions = st.integers(0, 11)
faults = st.sampled_from([fault for fault in Fault if fault is not Fault.NO_CREDITS])
moves = st.sampled_from(
    [
        timedelta(minutes=1),
        timedelta(minutes=16),
        timedelta(minutes=90),
        timedelta(hours=5),
        timedelta(hours=24),
        timedelta(hours=49),
    ]
)
short_moves = st.sampled_from([20.0, 45.0, 62.0, 700.0, 7200.0])
points = st.sampled_from(POINTS)


class Sending(RuleBasedStateMachine):
    """One world, from its beginning to its end.

    Every rule is possible at every step and does nothing where there is nothing to do, for what
    is drawn must not depend on what the service has made of it.
    """

    def __init__(self, service: Service, run: Run, set_clock: SetClock) -> None:
        super().__init__()
        self._service = service
        self._runner = run
        self._has_failed = False
        self._set_clock = set_clock
        self._turn = 0
        self._asked = 1

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        try:
            done: Result = self._runner(work)
        except BaseException:
            self._has_failed = True
            raise
        return done

    @initialize(
        at=st.sampled_from(BEGINNINGS),
        line=line_plans(),
        kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=MOST_PEOPLE),
        plan=plans(),
    )
    def begin(self, at: datetime, line: LinePlan, kinds: list[str], plan: Plan) -> None:
        """Make a line, people, and a first campaign."""
        self._run(self._begin(at, line, kinds, plan))

    async def _begin(self, at: datetime, line: LinePlan, kinds: list[str], plan: Plan) -> None:
        clock = MovedClock(at.astimezone(UTC))
        self._set_clock(clock)
        await self._service.empty()
        opened: Line = await open_line(self._service, line, now=clock())
        self._model = Model(clock=clock, line=opened)
        self._provider = Provider(now=clock, on_accept=self._model.accept, number=OWN_NUMBER)
        self._driver = Driver(self._service, self._provider, self._model)
        self._acts = Acts(self._service, self._provider, self._model, self._driver)
        self._meanwhile = Meanwhile(self._service, self._model, self._driver, self._acts)
        self._checks = Checks(self._service, self._provider, self._model)
        for kind in kinds:
            await self._acts.add_person(KINDS[kind])
        await self._acts.start_campaign(plan)

    def _person(self, position: int) -> Person:
        return self._model.people[position % len(self._model.people)]

    def _campaign(self, position: int) -> Campaign | None:
        campaigns = self._model.campaigns
        return campaigns[position % len(campaigns)] if campaigns else None

    def _text(self, position: int) -> Text | None:
        texts = self._provider.texts
        return texts[-1 - position % len(texts)] if texts else None

    @rule(plan=plans())
    def start_campaign(self, plan: Plan) -> None:
        """Start one more."""
        self._asked += 1
        if self._asked <= MOST_CAMPAIGNS:
            self._run(self._acts.start_campaign(plan))

    @rule()
    def tick(self) -> None:
        """Let the worker do its minute."""
        self._run(self._driver.tick())

    @rule(orders=st.lists(faults, min_size=1, max_size=4))
    def tick_with_faults(self, orders: list[Fault]) -> None:
        """Let the worker do its minute while the provider fails."""
        self._provider.orders.extend(orders)
        self._run(self._driver.tick())
        self._provider.orders.clear()

    @rule(reads=st.integers(0, 2), delay=st.sampled_from([0, 60, 300]))
    def trouble_lists(self, reads: int, delay: int) -> None:
        """Let look-ups fail, and the list lag."""
        self._provider.failing_reads = reads * 3
        self._provider.list_delay = timedelta(seconds=delay)

    @rule(point=points, orders=st.lists(faults, max_size=2))
    def tick_and_die(self, point: str, orders: list[Fault]) -> None:
        """Let the process die at a step."""
        self._provider.orders.extend(orders)
        self._run(self._driver.tick(BreakIn(point=point, act=None)))
        self._provider.orders.clear()

    @rule(point=points, act=st.sampled_from(MEANWHILE), position=positions, seconds=short_moves)
    def tick_and_more(self, point: str, act: str, position: int, seconds: float) -> None:
        """Let something happen at a step of the worker's minute."""
        break_in = self._meanwhile.at(point, act, position=position, seconds=seconds)
        self._run(self._driver.tick(break_in))

    @rule(
        point=st.sampled_from(["claim.open", "claim.committed", "gate.committed"]),
        act=st.sampled_from(MEANWHILE),
        position=positions,
        seconds=short_moves,
    )
    def tick_before_call(self, point: str, act: str, position: int, seconds: float) -> None:
        """Let something happen between claim and call, where it matters most."""
        self.tick_and_more(point, act, position, seconds)

    @rule()
    def drain_all(self) -> None:
        """Send all that may go; then everybody who waits has a reason to."""
        self._run(self._drain_all())

    async def _drain_all(self) -> None:
        self._provider.orders.clear()
        is_on_trial = (await self._service.rows("SELECT is_probing FROM line"))[0].is_probing
        await self._driver.drain_all()
        if not is_on_trial:
            await self._checks.nobody_is_left()

    @rule(by=moves)
    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self._model.clock.move(by)

    @rule(
        who=positions,
        which=positions,
        seconds=st.sampled_from([-40, -25, 0, 3600]),
        skip=st.booleans(),
    )
    def move_to_edge(self, who: int, which: int, seconds: int, *, skip: bool) -> None:
        """Let time pass until somebody's hours begin or end, or nearly so."""
        campaign = self._campaign(which)
        if campaign is None:
            return
        edge = self._edge(self._person(who), campaign, skip=skip)
        if edge is not None:
            self._model.clock.move_to(edge + timedelta(seconds=seconds))

    def _edge(self, person: Person, campaign: Campaign, *, skip: bool) -> datetime | None:
        """Return the next instant at which hours begin or end; the one after it with ``skip``."""
        zone = self._model.line.plan.timezone
        clock = self._model.clock()
        at = clock.replace(minute=0, second=0, microsecond=0)
        was_open: bool | None = None
        for _ in range(SEARCHED):
            at += QUARTER
            is_open = person.is_lawful(at) and campaign.is_open(person, at, line_timezone=zone)
            if was_open is not None and is_open is not was_open and at > clock + 3 * QUARTER / 15:
                if not skip:
                    return at
                skip = False
            was_open = is_open
        return None

    @rule()
    def move_to_promise(self) -> None:
        """Ask why everybody waits, and let time pass until the first may be texted."""
        self._run(self._move_to_promise())

    async def _move_to_promise(self) -> None:
        told = [told for *_, told in await self._checks.reasons()]
        now = self._model.clock()
        instants = [one.next_allowed_at for one in told if one.next_allowed_at is not None]
        later = [instant for instant in instants if instant > now]
        if later:
            self._model.clock.move_to(min(later))

    @rule(who=positions, words=st.sampled_from([*WORDS, *NO_WORDS]), is_held_up=st.booleans())
    def write(self, who: int, words: str, *, is_held_up: bool) -> None:
        """Let somebody text the line."""
        self._run(self._acts.write(self._person(who), words, is_held_up=is_held_up))

    @rule(who=positions)
    def call(self, who: int) -> None:
        """Let somebody call."""
        self._run(self._acts.call(self._person(who)))

    @rule(who=positions, word=st.sampled_from(["out", "in"]))
    def decide_consent(self, who: int, word: str) -> None:
        """Opt somebody out or in."""
        self._run(self._acts.decide_consent(self._person(who), word))

    @rule(
        which=positions,
        statuses=st.lists(
            st.sampled_from(["delivered", "failed", "undelivered"]), min_size=1, max_size=3
        ),
        is_held_up=st.booleans(),
    )
    def report(self, which: int, statuses: list[str], *, is_held_up: bool) -> None:
        """Let the provider tell what became of a text."""
        text = self._text(which)
        if text is not None:
            self._run(self._acts.report(text, statuses, is_held_up=is_held_up))

    @rule(which=positions, action=st.sampled_from(["pause", "resume", "resume", "cancel"]))
    def move_campaign(self, which: int, action: str) -> None:
        """Pause, resume or cancel."""
        campaign = self._campaign(which)
        if campaign is not None:
            self._run(self._acts.move(campaign, action))

    @rule(which=positions, decision=st.sampled_from(["approve", "reject"]))
    def review(self, which: int, decision: str) -> None:
        """Decide about people in review."""
        campaign = self._campaign(which)
        if campaign is not None:
            self._run(self._acts.review(campaign, decision))

    @rule(
        who=positions,
        act=st.sampled_from(["delete", "limit", "refuse", "unblock", "settle", "bar", "answer"]),
    )
    def meddle(self, who: int, act: str) -> None:
        """Do what is done seldom."""
        self._run(self._meddle(who, act))

    async def _meddle(self, who: int, act: str) -> None:
        match act:
            case "delete":
                await self._acts.delete(self._person(who))
            case "limit":
                await self._acts.limit_line(1 + who)
            case "refuse":
                self._provider.orders.append(Fault.NO_CREDITS)
                await self._driver.tick()
                self._provider.orders.clear()
            case "unblock":
                await self._acts.unblock()
            case "settle":
                await self._acts.settle_parked()
            case "bar":
                await self._acts.bar(self._person(who), days=1)
            case "answer":
                await self._acts.answer(self._person(who))

    @rule(who=positions, zone=st.sampled_from([EASTERN, HAWAII]))
    def travel(self, who: int, zone: str) -> None:
        """Put somebody into another zone; rather one whose text is under way."""
        self._run(self._travel(who, zone))

    async def _travel(self, who: int, zone: str) -> None:
        await self._acts.travel(await self._meanwhile.concerned(who), zone)

    @invariant()
    def all_is_well(self) -> None:
        """Hold the database against the model."""
        self._run(self._look())

    async def _look(self) -> None:
        await self._checks.ledger()
        self._turn += 1
        campaign = self._campaign(self._turn // COUNTED_EVERY)
        if campaign is not None and self._turn % COUNTED_EVERY == 0:
            await self._checks.figures(campaign)

    def teardown(self) -> None:
        """Bring it to its end."""
        if hasattr(self, "_driver"):
            self._run(self._end())

    async def _end(self) -> None:
        ending = Ending(self._service, self._provider, self._model, self._driver, self._acts)
        if not self._has_failed:
            await ending.play()
        await self._driver.close()
