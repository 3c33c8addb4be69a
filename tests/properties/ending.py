"""The end of every example: faults stop, users decide, and time passes until no work is open."""

from datetime import datetime, timedelta

from tests.properties.acts import Acts
from tests.properties.checks import EXPLAINED, Checks
from tests.properties.driver import Driver
from tests.properties.model import Model
from tests.properties.provider import Provider
from tests.properties.service import Service

MOST_ROUNDS = 150
SETTLED = timedelta(minutes=11)
"""A time longer than the grace period, after which an unclear attempt can be settled."""
SKIPPING_RULES = frozenset(
    {"previously_contacted", "do_not_contact", "opted_out", "contact_deleted", "missing_value"}
)
"""Rules that skip a recipient when the message is due, or put the recipient in review."""
SKIPPED_AFTER = timedelta(seconds=61)


class Ending:
    """Lets all work of one world (one run of the service and the model) come to its end."""

    def __init__(
        self, service: Service, provider: Provider, model: Model, driver: Driver, acts: Acts
    ) -> None:
        self._service = service
        self._provider = provider
        self._model = model
        self._driver = driver
        self._acts = acts
        self._checks = Checks(service, provider, model)

    async def run(self) -> None:
        """Let all work come to its end, then check the final statuses."""
        self._provider.orders.clear()
        self._provider.failing_reads = 0
        self._provider.list_delay = timedelta(0)
        await self._acts.arrive()
        for campaign in self._model.campaigns:
            if campaign.status == "paused":
                await self._acts.move(campaign, "resume")
        await self._acts.unblock()
        for _ in range(MOST_ROUNDS):
            await self._driver.tick()
            await self._checks.ledger()
            if not await self._advance():
                break
        await self._driver.tick()
        await self._checks.ledger()
        await self._checks.check_final_statuses()
        for campaign in self._model.campaigns:
            await self._checks.figures(campaign)

    async def _advance(self) -> bool:
        """Do what the open work needs to continue; return False if no work is open."""
        rows = await self._service.rows(
            "SELECT m.status, m.phone, c.status AS campaign_status FROM campaign_membership m "
            "JOIN campaign c ON c.id = m.campaign_id "
            "WHERE m.status IN ('pending', 'review', 'held', 'sending', 'unknown')"
        )
        waiting_for_start = await self._service.rows(
            "SELECT start_at FROM campaign WHERE status = 'scheduled'"
        )
        statuses = {row.status for row in rows}
        if await self._decide(statuses, {row.phone for row in rows if row.status == "held"}):
            return True
        if not rows and not waiting_for_start:
            return False
        if {"sending", "unknown"} & statuses:
            await self._acts.settle_parked()
            self._model.clock.move(SETTLED)
            return True
        await self._wait([row.start_at for row in waiting_for_start])
        return True

    async def _decide(self, statuses: set[str], held: set[str]) -> bool:
        """Make all decisions that a user must make; return True if there was one."""
        for campaign in self._model.campaigns:
            if "review" in statuses:
                await self._acts.review(campaign, "approve" if campaign.number % 2 else "reject")
        for phone in held:
            person = self._model.person(phone)
            if person.consent_state == "held":
                await self._acts.decide_consent(person, "in")
        paused = await self._service.rows(
            "SELECT id FROM campaign WHERE status IN ('paused', 'blocked')"
        )
        for campaign in self._model.campaigns:
            if campaign.id in {row.id for row in paused}:
                await self._acts.move(campaign, "resume")
        return bool(held or paused or "review" in statuses)

    async def _wait(self, starts: list[datetime | None]) -> None:
        """Move the clock to the first instant at which an explanation allows a message."""
        now = self._model.clock()
        instants = [start for start in starts if start is not None and start > now]
        for campaign, person, step, explanation in await self._checks.reasons(most=EXPLAINED):
            others = [stop for stop in explanation.stops if stop.rule not in SKIPPING_RULES]
            turns = [stop.until for stop in others if stop.until is not None]
            if explanation.next_allowed_at is not None:
                instants.append(max(explanation.next_allowed_at, now))
            elif len(others) < len(explanation.stops) and len(turns) == len(others):
                instants.append(max([now + SKIPPED_AFTER, *turns]))
            elif campaign.start_at > now:
                instants.append(campaign.start_at)
            elif campaign.end_at is not None:
                instants.append(campaign.end_at)
            elif any(stop.rule.startswith("outside") for stop in others):
                await self._acts.move(campaign, "cancel")
            else:
                waiting = f"campaign {campaign.number}, step {step}, {person.phone}"
                rules = ", ".join(stop.rule for stop in explanation.stops)
                raise AssertionError(f"{waiting} would wait for ever: {rules}")
        if instants:
            self._model.clock.move_to(max(min(instants), now))
