"""The state machine of hypothesis: it does all acts, in any order."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.properties import draws
from tests.properties.acts import Acts
from tests.properties.campaign import Campaign
from tests.properties.campaign_acts import open_line
from tests.properties.checks import EXPLAINED, Checks
from tests.properties.driver import BETWEEN_TICKS, Driver, Interruption
from tests.properties.ending import Ending
from tests.properties.facts import Line, MovedClock
from tests.properties.interrupting_acts import InterruptingActs
from tests.properties.model import Model
from tests.properties.people import EASTERN, HAWAII, KINDS, Person
from tests.properties.plans import BEGINNINGS, MOST_PEOPLE, LinePlan, Plan, line_plans, plans
from tests.properties.provider import Fault, Provider, SentMessage
from tests.properties.service import OWN_NUMBER, Service

Result = TypeVar("Result")
Run = Callable[[Coroutine[Any, Any, Any]], Any]
SetClock = Callable[[Callable[[], datetime]], None]

MOST_CAMPAIGNS = 3
COUNTED_EVERY = 5
"""Number of steps between two checks of a campaign's figures; the end checks all figures."""


class Sending(RuleBasedStateMachine):
    """One world (one run of the service, the model and the provider), from beginning to end.

    Every rule may run at every step. A rule does nothing if there is nothing to do, because the
    drawn values must not depend on the service's results.
    """

    def __init__(self, service: Service, run: Run, set_clock: SetClock) -> None:
        super().__init__()
        self._service = service
        self._runner = run
        self._has_failed = False
        self._set_clock = set_clock
        self._turn = 0
        self._campaigns_drawn = 0

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
        """Create a line, people, and one or two campaigns."""
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
        self._interrupting_acts = InterruptingActs(
            self._service, self._model, self._driver, self._acts
        )
        self._checks = Checks(self._service, self._provider, self._model)
        for kind in kinds:
            await self._acts.add_person(KINDS[kind])
        for plan in first:
            await self._acts.start_campaign(plan)
        self._campaigns_drawn = len(first)

    def _person(self, position: int) -> Person:
        return self._model.people[position % len(self._model.people)]

    def _campaign(self, position: int) -> Campaign | None:
        campaigns = self._model.campaigns
        return campaigns[position % len(campaigns)] if campaigns else None

    def _message(self, position: int) -> SentMessage | None:
        messages = self._provider.messages
        return messages[-1 - position % len(messages)] if messages else None

    # The following rules are acts of the worker. Before most of them, the clock moves to the
    # instant at which a waiting recipient may get a message.

    @rule(waits=draws.waits)
    def drain_all(self, *, waits: bool) -> None:
        """Send all that may be sent; check that every waiting recipient has a reason to wait."""
        self._run(self._drain_all(waits=waits))

    async def _drain_all(self, *, waits: bool) -> None:
        await self._wait(waits=waits)
        # On trial, a blocked line sends one message, and the other messages wait for the next run.
        # So the check is left out.
        trials = "SELECT 1 FROM line WHERE is_probing OR status <> 'active'"
        is_trial = bool(await self._service.rows(trials))
        await self._driver.drain_all()
        if not is_trial:
            await self._checks.check_waiting_recipients()

    @rule(waits=draws.waits)
    def tick(self, *, waits: bool) -> None:
        """Run one tick of the worker (what it does every minute)."""
        self._run(self._tick(waits=waits))

    @rule(waits=draws.waits, orders=st.lists(draws.faults, min_size=1, max_size=4))
    def tick_with_faults(self, *, waits: bool, orders: list[Fault]) -> None:
        """Run one tick of the worker while calls of the provider fail."""
        self._run(self._tick(waits=waits, orders=orders))

    @rule(waits=draws.waits, point=draws.points, orders=st.lists(draws.faults, max_size=2))
    def tick_with_death(self, *, waits: bool, point: str, orders: list[Fault]) -> None:
        """Run one tick, in which the worker process dies at a step."""
        self._run(self._tick(Interruption(point=point, act=None), waits=waits, orders=orders))

    @rule(
        waits=draws.waits,
        point=draws.points,
        act=draws.interrupting_acts,
        position=draws.positions,
        seconds=draws.short_moves,
    )
    def tick_with_interruption(
        self, *, waits: bool, point: str, act: str, position: int, seconds: float
    ) -> None:
        """Run one tick, in which another act is done at a step."""
        interruption = self._interrupting_acts.at(point, act, position=position, seconds=seconds)
        self._run(self._tick(interruption, waits=waits))

    @rule(
        point=st.sampled_from(draws.BEFORE_CALL),
        act=draws.interrupting_acts,
        position=draws.positions,
        seconds=draws.short_moves,
    )
    def tick_before_call(self, *, point: str, act: str, position: int, seconds: float) -> None:
        """Run one tick with another act between claim and call, where races are most likely."""
        interruption = self._interrupting_acts.at(point, act, position=position, seconds=seconds)
        self._run(self._tick(interruption, waits=True))

    @rule(
        point=st.sampled_from(draws.BEFORE_CALL),
        act=draws.interrupting_replies,
        position=draws.positions,
    )
    def tick_with_reply_before_call(self, *, point: str, act: str, position: int) -> None:
        """Run one tick in which a person replies between the claim and the call of a message."""
        self.tick_before_call(point=point, act=act, position=position, seconds=0.0)

    async def _tick(
        self, interruption: Interruption | None = None, *, waits: bool, orders: Sequence[Fault] = ()
    ) -> None:
        await self._wait(waits=waits)
        self._provider.orders.extend(orders)
        await self._driver.tick(interruption)
        self._provider.orders.clear()

    async def _wait(self, *, waits: bool) -> None:
        """Move the clock to the first instant at which an explained recipient may get a message."""
        if not waits:
            return
        explanations = [
            explanations for *_, explanations in await self._checks.reasons(most=EXPLAINED)
        ]
        now = self._model.clock()
        instants = [one.next_allowed_at for one in explanations if one.next_allowed_at is not None]
        if instants:
            self._model.clock.move_to(max(now, min(instants)))

    @rule(reads=st.integers(0, 2), delay=st.sampled_from([0, 60, 300]))
    def disturb_look_ups(self, reads: int, delay: int) -> None:
        """Let look-ups fail, and let the provider list accepted messages late."""
        self._provider.failing_reads = reads * 3
        self._provider.list_delay = timedelta(seconds=delay)

    # The following rules move the clock.

    @rule(by=draws.moves)
    def move(self, by: timedelta) -> None:
        """Let time pass: move the clock."""
        self._model.clock.move(by)

    @rule(
        who=draws.positions,
        which=draws.positions,
        seconds=st.sampled_from([-40, -25, 0, 3600]),
        skip=st.booleans(),
    )
    def move_to_edge(self, who: int, which: int, seconds: int, *, skip: bool) -> None:
        """Move the clock near the start or the end of a person's hours, then run a tick."""
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
            self._model.clock.move_to(edge + timedelta(seconds=seconds) - BETWEEN_TICKS)
        self._run(self._driver.tick())

    # The following rules are acts of people and users.

    @rule(plan=plans())
    def start_campaign(self, plan: Plan) -> None:
        """Start one more campaign."""
        self._campaigns_drawn += 1
        if self._campaigns_drawn <= MOST_CAMPAIGNS:
            self._run(self._acts.start_campaign(plan))

    @rule(who=draws.positions, words=draws.words, is_delayed=st.booleans())
    def write(self, who: int, words: str, *, is_delayed: bool) -> None:
        """Let a person send a message to the line."""
        self._run(self._acts.write(self._person(who), words, is_delayed=is_delayed))

    @rule(
        which=draws.positions,
        statuses=draws.reports,
        is_delayed=st.booleans(),
    )
    def report(self, which: int, statuses: list[str], *, is_delayed: bool) -> None:
        """Let the provider report statuses of a message."""
        message = self._message(which)
        if message is not None:
            self._run(self._acts.report(message, statuses, is_delayed=is_delayed))

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
        """Do an act of a person or about a person.

        Some acts prefer a person whose message is in flight.
        """
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
                await self._acts.flag_do_not_contact(person, days=1)
            case "answer":
                await self._acts.answer(person)
            case "east" | "far west":
                zone = EASTERN if act == "east" else HAWAII
                await self._acts.set_time_zone(
                    await self._interrupting_acts.person_in_flight(who), zone
                )
            case "import":
                await self._acts.import_address(await self._interrupting_acts.person_in_flight(who))

    @rule(who=draws.positions)
    def change_phone(self, who: int) -> None:
        """Change the number of a person, preferably one whose message is in flight."""
        self._run(self._change_phone(who))

    async def _change_phone(self, who: int) -> None:
        await self._acts.change_phone(await self._interrupting_acts.person_in_flight(who))

    @rule(daily_limit=st.integers(1, 12), act=st.sampled_from(draws.LINE_ACTIONS))
    def do_rare_act(self, daily_limit: int, act: str) -> None:
        """Do an act that should be rare, such as a change of the line's limit."""
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
    def database_agrees_with_model(self) -> None:
        """Check that the database agrees with the model."""
        self._run(self._check())

    async def _check(self) -> None:
        await self._checks.ledger()
        self._turn += 1
        campaign = self._campaign(self._turn // COUNTED_EVERY)
        if campaign is not None and self._turn % COUNTED_EVERY == 0:
            await self._checks.figures(campaign)

    def teardown(self) -> None:
        """End the world: let all work end, and check the final statuses."""
        if hasattr(self, "_driver"):
            self._run(self._end())

    async def _end(self) -> None:
        ending = Ending(self._service, self._provider, self._model, self._driver, self._acts)
        if not self._has_failed:
            await ending.run()
        await self._driver.close()
