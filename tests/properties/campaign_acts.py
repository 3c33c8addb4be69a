"""Acts about campaigns and the line, done in the service and recorded in the model.

The service does each act first. At this time, some messages have passed the gate and may still be
sent. These messages are read before the act is recorded in the model.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.properties.campaign import Campaign, body_of, follow_up_of
from tests.properties.facts import Line
from tests.properties.model import Model
from tests.properties.plans import LinePlan, Plan
from tests.properties.provider import Provider
from tests.properties.service import ACTOR, OWN_NUMBER, PROVIDER_LINE, Service

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.drafts import service as drafts
from crm_api.domain.campaigns.errors import InvalidTransitionError, NotInReviewError
from crm_api.domain.campaigns.recipients import review as reviewing
from crm_api.domain.campaigns.schemas import CampaignCreate
from crm_api.domain.kit.errors import InvalidError
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.lines.schemas import LineCreate, LineUpdate

BUSINESS = Business(name="Granite Foundations", contact=OWN_NUMBER)


async def open_line(service: Service, plan: LinePlan, *, now: datetime) -> Line:
    """Add the line that sends the messages."""
    body = LineCreate(
        phone_number_id=PROVIDER_LINE,
        number=OWN_NUMBER,
        name="Granite",
        daily_limit=plan.daily_limit,
        ramp_plan=list(plan.ramp) if plan.ramp else None,
        timezone=plan.timezone,
    )
    async with service.new_uow() as uow:
        made = await lines.create_line(uow, body, resend_unclear=True, times=service.times, now=now)
    return Line(id=made.line.id, plan=plan, daily_limit=plan.daily_limit)


class CampaignActs:
    """Acts about the campaigns and the line of one world (one run of the service and the model)."""

    def __init__(self, service: Service, provider: Provider, model: Model) -> None:
        self._service = service
        self._provider = provider
        self._model = model

    async def _done(self, note: Callable[[], None]) -> None:
        """Record an act in the model after the service has committed it."""
        in_flight = await self._service.calling()
        self._model.in_flight |= in_flight
        note()
        self._model.record_change()

    async def start_campaign(self, plan: Plan) -> Campaign | None:
        """Create a campaign and start it; return None if the service refuses the start."""
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
            made = await drafts.create_campaign(uow, body, now=now)
        campaign = Campaign(number=number, plan=plan, id=made.campaign.id, made_at=now)
        try:
            async with self._service.new_uow() as uow:
                await campaigns.start_campaign(
                    uow,
                    campaign_id=campaign.id,
                    sender=BUSINESS,
                    rules=self._service.rules,
                    now=now,
                )
        except InvalidError:
            return None
        self._model.campaigns.append(campaign)
        self._model.record_change()
        return campaign

    async def move(self, campaign: Campaign, action: str) -> None:
        """Pause, resume or cancel a campaign, if its status allows it."""
        act = {
            "pause": campaigns.pause_campaign,
            "resume": campaigns.resume_campaign,
            "cancel": campaigns.cancel_campaign,
        }[action]
        try:
            async with self._service.new_uow() as uow:
                await act(uow, campaign_id=campaign.id, now=self._model.clock())
        except InvalidTransitionError:
            return
        status = {"pause": "paused", "resume": "on", "cancel": "cancelled"}[action]
        await self._done(lambda: setattr(campaign, "status", status))

    async def review(self, campaign: Campaign, decision: str) -> None:
        """Approve or reject all recipients in review, as ``decision`` says."""
        rows = await self._service.rows(
            "SELECT contact_id FROM campaign_membership "
            "WHERE campaign_id = :id AND status = 'review'",
            id=campaign.id,
        )
        try:
            async with self._service.new_uow() as uow:
                await reviewing.review_recipients(
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
        self._model.record_change()

    async def limit_line(self, daily_limit: int) -> None:
        """Change the line's daily limit."""
        async with self._service.new_uow() as uow:
            await lines.update_line(
                uow,
                LineUpdate(daily_limit=daily_limit),
                line_id=self._model.line.id,
                actor=ACTOR,
                times=self._service.times,
                now=self._model.clock(),
            )
        self._model.line.daily_limit = daily_limit
        self._model.record_change()

    async def unblock(self) -> None:
        """Unblock the line."""
        async with self._service.new_uow() as uow:
            await lines.unblock_line(
                uow,
                line_id=self._model.line.id,
                actor=ACTOR,
                times=self._service.times,
                now=self._model.clock(),
            )
        self._model.line.blocked_until = None
        self._model.record_change()

    async def settle_parked(self) -> None:
        """Settle every parked attempt with its true outcome, which the provider knows."""
        rows = await self._service.rows(
            "SELECT a.id, a.phone, a.body, m.campaign_id, m.contact_id FROM send_attempt a "
            "JOIN campaign_membership m ON m.id = a.membership_id WHERE a.status = 'parked'"
        )
        for row in rows:
            is_there = any(
                message.phone == row.phone and message.body == row.body
                for message in self._provider.messages
            )
            async with self._service.new_uow() as uow:
                await reviewing.settle_recipient(
                    uow,
                    campaign_id=row.campaign_id,
                    contact_id=row.contact_id,
                    outcome="sent" if is_there else "failed",
                    actor=ACTOR,
                    now=self._model.clock(),
                )
        self._model.record_change()


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
