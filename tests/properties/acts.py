"""What people do, to the service and in the model at once.

Each act is done by the service first. What had passed the gate by then may still leave; so that is
read before the model takes the act down.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from tests.properties.campaign import Campaign, body_of, follow_up_of
from tests.properties.driver import Driver
from tests.properties.model import Line, Model
from tests.properties.people import Kind, Person
from tests.properties.plans import LinePlan, Plan
from tests.properties.provider import Provider, Text
from tests.properties.service import ACTOR, OWN_NUMBER, PROVIDER_LINE, Service

from crm_api.domain.activity import service as activity
from crm_api.domain.activity.schemas import ReplyCreate
from crm_api.domain.campaigns import reviewing
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.errors import InvalidTransitionError, NotInReviewError
from crm_api.domain.campaigns.schemas import CampaignCreate
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.contacts import decisions
from crm_api.domain.contacts import service as contacts
from crm_api.domain.contacts.schemas import ContactCreate, ContactUpdate, FlagCreate
from crm_api.domain.errors import ConflictError, InvalidError
from crm_api.domain.lines import service as lines
from crm_api.domain.lines.schemas import LineCreate, LineUpdate
from crm_api.workers.transfer import run_imports

BUSINESS = Business(name="Granite Foundations", contact=OWN_NUMBER)


async def open_line(service: Service, plan: LinePlan, *, now: datetime) -> Line:
    """Add the number that sends."""
    body = LineCreate(
        phone_number_id=PROVIDER_LINE,
        number=OWN_NUMBER,
        name="Granite",
        daily_limit=plan.daily_limit,
        ramp_plan=list(plan.ramp) if plan.ramp else None,
        timezone=plan.timezone,
    )
    async with service.new_uow() as uow:
        made = await lines.create(uow, body, resend_unclear=True, times=service.times, now=now)
    return Line(id=made.line.id, plan=plan, daily_limit=plan.daily_limit)


class Acts:
    """Acts in one world."""

    def __init__(self, service: Service, provider: Provider, model: Model, driver: Driver) -> None:
        self._service = service
        self._provider = provider
        self._model = model
        self._driver = driver
        self._events = 0
        self._held_up: list[dict[str, Any]] = []

    async def _done(self, note: Callable[[], None]) -> None:
        """Let the model take an act down that has just been committed."""
        on_the_way = await self._service.calling()
        self._model.on_the_way |= on_the_way
        note()
        self._model.happened()

    async def add_person(self, kind: Kind) -> None:
        """Add somebody of a kind."""
        position = len(self._model.people)
        phone = f"+1{kind.area_code}555{position:04d}"
        body = ContactCreate.model_validate(
            {
                "phone": phone,
                "first_name": f"P{position}",
                "address": {"state": kind.state, "postal_code": kind.postal_code},
                "timezone": kind.timezone,
            }
        )
        async with self._service.new_uow() as uow:
            made = await contacts.create(uow, body, now=self._model.clock())
        self._model.people.append(Person(kind, [phone], made.contact.id))

    async def start_campaign(self, plan: Plan) -> Campaign | None:
        """Make a campaign and start it; None when the service refuses to."""
        now, number = self._model.clock(), len(self._model.campaigns)
        people = [
            self._model.people[position]
            for position in sorted(plan.people)
            if position < len(self._model.people)
        ]
        contact_ids = [person.contact_id for person in people if not person.is_deleted]
        if not contact_ids:
            return None
        body = _body(plan, number=number, line=self._model.line, now=now, contact_ids=contact_ids)
        async with self._service.new_uow() as uow:
            made = await campaigns.create(uow, body, now=now)
        campaign = Campaign(number=number, plan=plan, id=made.campaign.id, made_at=now)
        try:
            async with self._service.new_uow() as uow:
                await campaigns.start(
                    uow,
                    campaign_id=campaign.id,
                    sender=BUSINESS,
                    rules=self._service.rules,
                    now=now,
                )
        except InvalidError:
            return None
        self._model.campaigns.append(campaign)
        self._model.happened()
        return campaign

    async def move(self, campaign: Campaign, action: str) -> None:
        """Pause, resume or cancel a campaign, if its status allows it."""
        act = {
            "pause": campaigns.pause,
            "resume": campaigns.resume,
            "cancel": campaigns.cancel,
        }[action]
        try:
            async with self._service.new_uow() as uow:
                await act(uow, campaign_id=campaign.id, now=self._model.clock())
        except InvalidTransitionError:
            return
        status = {"pause": "paused", "resume": "on", "cancel": "cancelled"}[action]
        await self._done(lambda: setattr(campaign, "status", status))

    async def write(self, person: Person, words: str, *, is_held_up: bool = False) -> None:
        """Let somebody text the line; a text that is held up arrives with the next one."""
        event = self._provider.incoming(
            person.phone,
            words,
            line=PROVIDER_LINE,
            at=self._model.clock(),
            number=self._next(),
        )
        await self._tell([event], is_held_up=is_held_up)

    async def call(self, person: Person) -> None:
        """Let somebody call the line."""
        event = self._provider.call(
            person.phone, line=PROVIDER_LINE, at=self._model.clock(), number=self._next()
        )
        await self._tell([event])

    async def report(
        self, text: Text, statuses: Sequence[str], *, is_held_up: bool = False
    ) -> None:
        """Let the provider report what became of a text, once or more often."""
        events = [
            self._provider.report(text, status=status, number=self._next()) for status in statuses
        ]
        await self._tell([*events, events[0]], is_held_up=is_held_up)

    async def _tell(self, events: list[dict[str, Any]], *, is_held_up: bool = False) -> None:
        self._model.begun |= {event["id"]: len(self._model.accepted) for event in events}
        if is_held_up:
            self._held_up += events
            return
        await self.arrive(events)

    async def arrive(self, events: Sequence[dict[str, Any]] = ()) -> None:
        """Deliver events, then what was held up, and apply all of it."""
        held_up, self._held_up = self._held_up, []
        for event in (*events, *held_up):
            await self._service.deliver(event, clock=self._model.clock)
        await self._driver.apply_events()

    def _next(self) -> int:
        self._events += 1
        return self._events

    async def decide_consent(self, person: Person, word: str) -> None:
        """Opt somebody out or in through the API."""
        if person.is_deleted:
            return
        now = self._model.clock()
        act = decisions.opt_out if word == "out" else decisions.opt_in
        async with self._service.new_uow() as uow:
            await act(
                uow,
                contact_id=person.contact_id,
                reason="by telephone",
                note=None,
                actor=ACTOR,
                now=now,
                secret=self._service.secret,
            )
        await self._done(lambda: self._model.said(person.phone, word, at=now))

    async def delete(self, person: Person) -> None:
        """Delete somebody."""
        if person.is_deleted:
            return
        async with self._service.new_uow() as uow:
            await contacts.delete(uow, contact_id=person.contact_id, now=self._model.clock())
        await self._done(lambda: setattr(person, "is_deleted", True))

    async def bar(self, person: Person, *, days: int) -> None:
        """Flag somebody ``do_not_contact`` for some days."""
        if person.is_deleted:
            return
        until = self._model.clock() + timedelta(days=days)
        async with self._service.new_uow() as uow:
            await decisions.add_flag(
                uow,
                FlagCreate(flag="do_not_contact", expires_at=until),
                contact_id=person.contact_id,
                actor=ACTOR,
                now=self._model.clock(),
                secret=self._service.secret,
            )
        await self._done(lambda: setattr(person, "barred_until", until))

    async def travel(self, person: Person, zone: str) -> None:
        """Set somebody's time zone."""
        if person.is_deleted:
            return
        async with self._service.new_uow() as uow:
            await contacts.update(
                uow,
                ContactUpdate(timezone=zone),
                contact_id=person.contact_id,
                now=self._model.clock(),
            )
        await self._done(lambda: person.move_to(zone))

    async def import_address(self, person: Person) -> None:
        """Import a file that says that somebody lives in Los Angeles."""
        await self._service.import_file(
            f"phone,first_name,state,postal_code\n{person.phone},Pat,CA,90001\n",
            on_duplicate="overwrite",
            now=self._model.clock(),
        )
        await run_imports({"deps": self._driver.deps})
        await self._done(person.move_west)

    async def renumber(self, person: Person) -> None:
        """Give somebody another number with the same area code, once all they wrote has arrived."""
        if person.is_deleted:
            return
        await self.arrive()
        position = 1000 * len(person.numbers) + self._model.people.index(person)
        phone = f"+1{person.kind.area_code}555{position:04d}"
        async with self._service.new_uow() as uow:
            await contacts.update(
                uow,
                ContactUpdate(phone=phone),
                contact_id=person.contact_id,
                now=self._model.clock(),
            )
        await self._done(lambda: person.get_number(phone))

    async def answer(self, person: Person) -> None:
        """Write to somebody by hand, if that is allowed; it leaves with the next tick."""
        reply = ReplyCreate(line_id=self._model.line.id, to=person.phone, body="A word by hand.")
        with suppress(ConflictError):
            async with self._service.new_uow() as uow:
                await activity.send_reply(
                    uow, reply, rules=self._service.rules, now=self._model.clock()
                )
        self._model.happened()

    async def review(self, campaign: Campaign, decision: str) -> None:
        """Approve or reject everybody in review."""
        rows = await self._service.rows(
            "SELECT contact_id FROM campaign_membership "
            "WHERE campaign_id = :id AND status = 'review'",
            id=campaign.id,
        )
        try:
            async with self._service.new_uow() as uow:
                await reviewing.decide(
                    uow,
                    campaign_id=campaign.id,
                    decision="approve" if decision == "approve" else "reject",
                    contact_ids=None,
                    actor=ACTOR,
                    now=self._model.clock(),
                )
        except NotInReviewError:
            return
        if decision == "approve":
            campaign.approved |= {row.contact_id for row in rows}
        self._model.happened()

    async def limit_line(self, daily_limit: int) -> None:
        """Change what the line may send a day."""
        async with self._service.new_uow() as uow:
            await lines.update(
                uow,
                LineUpdate(daily_limit=daily_limit),
                line_id=self._model.line.id,
                actor=ACTOR,
                times=self._service.times,
                now=self._model.clock(),
            )
        self._model.line.daily_limit = daily_limit
        self._model.happened()

    async def unblock(self) -> None:
        """Let the line send again."""
        async with self._service.new_uow() as uow:
            await lines.unblock(
                uow,
                line_id=self._model.line.id,
                actor=ACTOR,
                times=self._service.times,
                now=self._model.clock(),
            )
        self._model.line.blocked_until = None
        self._model.happened()

    async def settle_parked(self) -> None:
        """Find out about every parked send, and say truthfully what became of it."""
        rows = await self._service.rows(
            "SELECT a.id, a.phone, a.body, m.campaign_id, m.contact_id FROM send_attempt a "
            "JOIN campaign_membership m ON m.id = a.membership_id WHERE a.status = 'parked'"
        )
        for row in rows:
            is_there = any(
                text.phone == row.phone and text.body == row.body for text in self._provider.texts
            )
            async with self._service.new_uow() as uow:
                await campaigns.settle(
                    uow,
                    campaign_id=row.campaign_id,
                    contact_id=row.contact_id,
                    outcome="sent" if is_there else "failed",
                    actor=ACTOR,
                    now=self._model.clock(),
                )
        self._model.happened()


def _body(
    plan: Plan, *, number: int, line: Line, now: datetime, contact_ids: Sequence[Any]
) -> CampaignCreate:
    share = 100 // plan.variants
    pacing: dict[str, Any] = {"daily_limit": plan.daily_limit, "mode": "even"}
    if plan.batch is not None:
        pacing |= {
            "mode": "burst",
            "batch_size": plan.batch[0],
            "batch_interval_minutes": plan.batch[1],
        }
    cap = plan.frequency_cap
    return CampaignCreate.model_validate(
        {
            "name": f"Campaign {number}",
            "line_id": line.id,
            "audience": {"contact_ids": contact_ids},
            "variants": [
                {"name": f"V{one}", "body": body_of(number, variant=one), "weight": share}
                for one in range(plan.variants)
            ],
            "schedule": {
                "start_at": _later(now, plan.starts_in),
                "end_at": _later(now, plan.ends_in),
                "days": list(plan.days),
                "window": {"start": f"{plan.window[0]:%H:%M}", "end": f"{plan.window[1]:%H:%M}"},
                "timezone": plan.timezone,
            },
            "pacing": pacing,
            "rules": {
                "previously_contacted": plan.previously_contacted,
                "min_days_between": plan.min_days_between,
                "frequency_cap": cap and {"texts": cap[0], "days": cap[1]},
                "max_attempts": plan.max_attempts,
            },
            "follow_ups": [
                {"after_hours": hours, "body": follow_up_of(number, step=step)}
                for step, hours in enumerate(plan.follow_ups, start=1)
            ],
        }
    )


def _later(now: datetime, by: timedelta | None) -> datetime | None:
    return None if by is None else now + by
