"""The state machine that hypothesis drives: what may happen, in any order."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.properties import draws
from tests.properties.acts import Acts
from tests.properties.campaign import Campaign
from tests.properties.campaign_acts import open_line
from tests.properties.checks import ASKED, Checks
from tests.properties.driver import MINUTE, BreakIn, Driver
from tests.properties.ending import Ending
from tests.properties.facts import Line, MovedClock
from tests.properties.meanwhile import Meanwhile
from tests.properties.model import Model
from tests.properties.people import EASTERN, HAWAII, KINDS, Person
from tests.properties.plans import BEGINNINGS, MOST_PEOPLE, LinePlan, Plan, line_plans, plans
from tests.properties.provider import Fault, Provider, Text
from tests.properties.service import OWN_NUMBER, Service

Result = TypeVar("Result")
Run = Callable[[Coroutine[Any, Any, Any]], Any]
SetClock = Callable[[Callable[[], datetime]], None]

MOST_CAMPAIGNS = 3
COUNTED_EVERY = 5
"""Steps between two checks of a campaign's figures; in the end all are checked."""


class Sending(RuleBasedStateMachine):
    """One world, from its beginning to its end.

    Every rule is possible at every step and does nothing if there is nothing to do, because the
    draws must not depend on the service's results.
    """

    def __init__(self, service: Service, run: Run, set_clock: SetClock) -> None:
        super().__init__()
        self._service = service
        self._runner = run
        self._has_failed = False
        self._set_clock = set_clock
        self._turn = 0
        self._asked = 0

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
        kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=3, max_size=MOST_PEOPLE),
        first=st.lists(plans(), min_size=1, max_size=2),
    )
    def begin(self, at: datetime, line: LinePlan, kinds: list[str], first: list[Plan]) -> None:
        """Create a line, people, and one or two first campaigns."""
        self._run(self._begin(at, line, kinds, first))

    async def _begin(
        self, at: datetime, line: LinePlan, kinds: list[str], first: list[Plan]
    ) -> None:
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
        for plan in first:
            await self._acts.start_campaign(plan)
        self._asked = len(first)

    def _person(self, position: int) -> Person:
        return self._model.people[position % len(self._model.people)]

    def _campaign(self, position: int) -> Campaign | None:
        campaigns = self._model.campaigns
        return campaigns[position % len(campaigns)] if campaigns else None

    def _text(self, position: int) -> Text | None:
        texts = self._provider.texts
        return texts[-1 - position % len(texts)] if texts else None

    # Acts of the worker, mostly once the first waiting recipient may be sent to.

    @rule(waits=draws.waits)
    def drain_all(self, *, waits: bool) -> None:
        """Send all that may be sent; then every waiting recipient has a reason to wait."""
        self._run(self._drain_all(waits=waits))

    async def _drain_all(self, *, waits: bool) -> None:
        await self._wait(waits=waits)
        # A blocked line is tested with one message; the others then wait for the next run.
        trials = "SELECT 1 FROM line WHERE is_probing OR status <> 'active'"
        is_trial = bool(await self._service.rows(trials))
        await self._driver.drain_all()
        if not is_trial:
            await self._checks.none_is_left()

    @rule(waits=draws.waits)
    def tick(self, *, waits: bool) -> None:
        """Run the worker's minute."""
        self._run(self._tick(waits=waits))

    @rule(waits=draws.waits, orders=st.lists(draws.faults, min_size=1, max_size=4))
    def tick_with_faults(self, *, waits: bool, orders: list[Fault]) -> None:
        """Run the worker's minute while the provider fails."""
        self._run(self._tick(waits=waits, orders=orders))

    @rule(waits=draws.waits, point=draws.points, orders=st.lists(draws.faults, max_size=2))
    def tick_and_die(self, *, waits: bool, point: str, orders: list[Fault]) -> None:
        """Let the process die at a step."""
        self._run(self._tick(BreakIn(point=point, act=None), waits=waits, orders=orders))

    @rule(
        waits=draws.waits,
        point=draws.points,
        act=draws.meanwhile,
        position=draws.positions,
        seconds=draws.short_moves,
    )
    def tick_and_more(
        self, *, waits: bool, point: str, act: str, position: int, seconds: float
    ) -> None:
        """Let something happen at a step of the worker's minute."""
        break_in = self._meanwhile.at(point, act, position=position, seconds=seconds)
        self._run(self._tick(break_in, waits=waits))

    @rule(
        point=st.sampled_from(draws.BEFORE_CALL),
        act=draws.meanwhile,
        position=draws.positions,
        seconds=draws.short_moves,
    )
    def tick_before_call(self, *, point: str, act: str, position: int, seconds: float) -> None:
        """Let something happen between claim and call, where it matters most."""
        break_in = self._meanwhile.at(point, act, position=position, seconds=seconds)
        self._run(self._tick(break_in, waits=True))

    @rule(
        point=st.sampled_from(draws.BEFORE_CALL),
        act=draws.said_meanwhile,
        position=draws.positions,
    )
    def hear_before_call(self, *, point: str, act: str, position: int) -> None:
        """Apply a reply between claim and call of a message to its sender."""
        self.tick_before_call(point=point, act=act, position=position, seconds=0.0)

    async def _tick(
        self, break_in: BreakIn | None = None, *, waits: bool, orders: Sequence[Fault] = ()
    ) -> None:
        await self._wait(waits=waits)
        self._provider.orders.extend(orders)
        await self._driver.tick(break_in)
        self._provider.orders.clear()

    async def _wait(self, *, waits: bool) -> None:
        """Ask why all recipients wait, and let time pass until the first may be sent to."""
        if not waits:
            return
        explanations = [explanations for *_, explanations in await self._checks.reasons(most=ASKED)]
        now = self._model.clock()
        instants = [one.next_allowed_at for one in explanations if one.next_allowed_at is not None]
        if instants:
            self._model.clock.move_to(max(now, min(instants)))

    @rule(reads=st.integers(0, 2), delay=st.sampled_from([0, 60, 300]))
    def trouble_lists(self, reads: int, delay: int) -> None:
        """Let look-ups fail, and the list lag."""
        self._provider.failing_reads = reads * 3
        self._provider.list_delay = timedelta(seconds=delay)

    # Time.

    @rule(by=draws.moves)
    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self._model.clock.move(by)

    @rule(
        who=draws.positions,
        which=draws.positions,
        seconds=st.sampled_from([-40, -25, 0, 3600]),
        skip=st.booleans(),
    )
    def move_to_edge(self, who: int, which: int, seconds: int, *, skip: bool) -> None:
        """Move to about when a person's hours begin or end; then run the worker's minute."""
        campaign = self._campaign(which)
        if campaign is None:
            return
        edge = campaign.edge(
            self._person(who),
            self._model.clock(),
            line_timezone=self._model.line.plan.timezone,
            skip=skip,
        )
        if edge is not None:
            self._model.clock.move_to(edge + timedelta(seconds=seconds) - MINUTE)
        self._run(self._driver.tick())

    # Acts of people.

    @rule(plan=plans())
    def start_campaign(self, plan: Plan) -> None:
        """Start one more campaign."""
        self._asked += 1
        if self._asked <= MOST_CAMPAIGNS:
            self._run(self._acts.start_campaign(plan))

    @rule(who=draws.positions, words=draws.words, is_held_up=st.booleans())
    def write(self, who: int, words: str, *, is_held_up: bool) -> None:
        """Let a person write to the line."""
        self._run(self._acts.write(self._person(who), words, is_held_up=is_held_up))

    @rule(
        which=draws.positions,
        statuses=draws.reports,
        is_held_up=st.booleans(),
    )
    def report(self, which: int, statuses: list[str], *, is_held_up: bool) -> None:
        """Let the provider report a message's status."""
        text = self._text(which)
        if text is not None:
            self._run(self._acts.report(text, statuses, is_held_up=is_held_up))

    @rule(which=draws.positions, action=st.sampled_from(draws.CAMPAIGN_ACTIONS))
    def move_campaign(self, which: int, action: str) -> None:
        """Pause, resume or cancel a campaign, or approve or reject its recipients in review."""
        campaign = self._campaign(which)
        if campaign is None:
            return
        if action in {"approve", "reject"}:
            self._run(self._acts.review(campaign, action))
        else:
            self._run(self._acts.move(campaign, action))

    @rule(who=draws.positions, act=st.sampled_from(draws.PERSON_ACTIONS))
    def decide_about(self, who: int, act: str) -> None:
        """Decide about a person; preferably one whose message is under way."""
        self._run(self._decide_about(who, act))

    async def _decide_about(self, who: int, act: str) -> None:
        person = self._person(who)
        match act:
            case "call":
                await self._acts.call(person)
            case "out" | "in":
                await self._acts.decide_consent(person, act)
            case "delete":
                await self._acts.delete(person)
            case "bar":
                await self._acts.bar(person, days=1)
            case "answer":
                await self._acts.answer(person)
            case "east" | "far west":
                zone = EASTERN if act == "east" else HAWAII
                await self._acts.travel(await self._meanwhile.concerned(who), zone)
            case "import":
                await self._acts.import_address(await self._meanwhile.concerned(who))

    @rule(who=draws.positions)
    def renumber(self, who: int) -> None:
        """Change a person's number; preferably of one whose message is under way."""
        self._run(self._renumber(who))

    async def _renumber(self, who: int) -> None:
        await self._acts.renumber(await self._meanwhile.concerned(who))

    @rule(daily_limit=st.integers(1, 12), act=st.sampled_from(draws.LINE_ACTIONS))
    def meddle(self, daily_limit: int, act: str) -> None:
        """Do a rare act."""
        match act:
            case "limit":
                self._run(self._acts.limit_line(daily_limit))
            case "refuse":
                self._run(self._tick(waits=True, orders=[Fault.NO_CREDITS]))
            case "unblock":
                self._run(self._acts.unblock())
            case "settle":
                self._run(self._acts.settle_parked())

    @invariant()
    def all_is_well(self) -> None:
        """Compare the database with the model."""
        self._run(self._look())

    async def _look(self) -> None:
        await self._checks.ledger()
        self._turn += 1
        campaign = self._campaign(self._turn // COUNTED_EVERY)
        if campaign is not None and self._turn % COUNTED_EVERY == 0:
            await self._checks.figures(campaign)

    def teardown(self) -> None:
        """End the world."""
        if hasattr(self, "_driver"):
            self._run(self._end())

    async def _end(self) -> None:
        ending = Ending(self._service, self._provider, self._model, self._driver, self._acts)
        if not self._has_failed:
            await ending.play()
        await self._driver.close()
