"""Explain: would this recipient be texted now, which rule stops it, and until when.

The rules are the claim's own: its SQL fragments, the planner's windows and its composer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns.errors import RecipientNotFoundError
from crm_api.domain.campaigns.explain_hours import Hours
from crm_api.domain.campaigns.models import CampaignStatus, MembershipStatus, PreviouslyContacted
from crm_api.domain.campaigns.planning import pace_of, pacing_of
from crm_api.domain.campaigns.wording import Business, Wordings
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.errors import InvalidError
from crm_api.domain.sends import explaining, pacing
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.times import SendTimes


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A rule that stops the text; ``until`` is None when time alone does not lift it."""

    rule: str
    detail: str
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Whether a recipient would be texted now.

    Attributes:
        stops: Every rule that stops it, the first decides; empty when it would be sent.
        next_allowed_at: When the last of them is over, if all are lifted by time alone.
    """

    step: int
    status: str
    stops: list[Stop]
    next_allowed_at: datetime | None

    @property
    def would_send_now(self) -> bool:
        """True when no rule stops it."""
        return not self.stops


@dataclass(frozen=True, kw_only=True)
class _Case:
    row: Row[Any]
    campaign_used: int
    line_used: int
    hours: Hours
    business: Business
    call: timedelta
    now: datetime


async def explain(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    step: int | None,
    rules: RuleBook,
    business: Business,
    times: SendTimes,
    now: datetime,
) -> Explanation:
    """Say whether a recipient would be texted now, and what stops it.

    Raises:
        RecipientNotFoundError: The campaign has no such recipient; before its audience is written
            down it has none at all.
    """
    place = await explaining.find_place(uow, campaign_id=campaign_id, contact_id=contact_id)
    row = place and await explaining.find_recipient(
        uow,
        campaign_id=campaign_id,
        contact_id=contact_id,
        step=step,
        cap=rules.frequency_cap(place, now),
        times=times,
        now=now,
    )
    if not row:
        raise RecipientNotFoundError("This campaign has no such recipient.")
    used = await sends.campaign_sent_today(
        uow.session, campaign_id=campaign_id, line_id=row.line_id, times=times, now=now
    )
    case = _Case(
        row=row,
        campaign_used=used[0],
        line_used=used[1],
        hours=Hours.of(row, rules=rules, call=times.call),
        business=business,
        call=times.call,
        now=now,
    )
    stops = [stop for rule in RULES for stop in rule(case)]
    allowed_at = _next_allowed(case, stops)
    ends_at = None if row.end_at is None else row.end_at - times.call
    if stops and allowed_at is not None and ends_at is not None and allowed_at >= ends_at:
        stops.append(Stop(rule="campaign_ends", detail="The campaign's end comes before that."))
        allowed_at = None
    return Explanation(step=row.step, status=row.status, stops=stops, next_allowed_at=allowed_at)


def _next_allowed(case: _Case, stops: list[Stop]) -> datetime | None:
    if not stops:
        return case.now
    ends = [stop.until for stop in stops]
    if any(end is None for end in ends):
        return None
    latest = max(end for end in ends if end is not None)
    return case.hours.opening(latest)


def _recipient(case: _Case) -> Iterator[Stop]:
    row = case.row
    if row.status == MembershipStatus.PENDING:
        return
    why = row.skip_reason or row.error_code
    if why == "landline":
        yield Stop(
            rule=why,
            detail="The number was found to be a landline, which the campaign skips; a text would "
            "not arrive there.",
        )
        return
    because = f" ({why})" if why else ""
    yield Stop(rule=why or row.status, detail=f"This recipient is {row.status}{because}.")


def _campaign(case: _Case) -> Iterator[Stop]:
    row = case.row
    if row.campaign_status == CampaignStatus.RUNNING:
        if row.end_at is not None and row.end_at <= case.now + case.call:
            yield Stop(rule="campaign_ended", detail="The campaign's end has come.")
        return
    if row.campaign_status == CampaignStatus.SCHEDULED and row.start_at is not None:
        yield Stop(rule="not_started", detail="The campaign has not begun.", until=row.start_at)
        return
    if row.campaign_status == CampaignStatus.PAUSED and row.paused_reason:
        told = (row.paused_evidence or {}).get("sentence", f"{row.paused_reason}.")
        yield Stop(rule=row.paused_reason, detail=f"The campaign paused itself: {told}")
        return
    because = f": {row.blocked_reason}" if row.blocked_reason else ""
    yield Stop(
        rule=f"campaign_{row.campaign_status}",
        detail=f"The campaign is {row.campaign_status}{because}.",
    )


def _line(case: _Case) -> Iterator[Stop]:
    row = case.row
    if row.line_status != "active":
        yield Stop(
            rule="line_blocked",
            detail=f"The line {row.number} is blocked: {row.line_blocked_reason}. Put that right, "
            "then POST /v1/lines/{id}/unblock.",
            until=row.line_probe_at,
        )
    elif row.is_trial_busy:
        yield Stop(
            rule="line_on_trial",
            detail=f"The line {row.number} was blocked and is tried by one text at a time; another "
            "one is under way.",
            until=case.now,
        )


def _consent(case: _Case) -> Iterator[Stop]:
    row = case.row
    if row.is_opted_out:
        yield Stop(rule="opted_out", detail="The person asked not to be texted.")
    if row.is_do_not_contact:
        yield Stop(rule="do_not_contact", detail="The number is flagged do_not_contact.")
    if row.is_held:
        yield Stop(
            rule="opt_out_hold",
            detail="A doubtful text holds the number; confirm it (opt-out) or release it (opt-in).",
        )
    if row.is_deleted:
        yield Stop(rule="contact_deleted", detail="The contact was deleted.")


def _number(case: _Case) -> Iterator[Stop]:
    row, now = case.row, case.now
    if row.is_busy:
        yield Stop(rule="number_busy", detail="Another text to the number is under way.", until=now)
    if row.is_kept:
        yield Stop(
            rule="number_kept",
            detail="An unclear text to the number is settled first.",
            until=row.kept_until,
        )
    if row.was_contacted:
        becomes = {
            PreviouslyContacted.SKIP: "skips such people",
            PreviouslyContacted.REVIEW: "puts such people in review",
        }[row.previously_contacted]
        yield Stop(
            rule="previously_contacted",
            detail=f"The person was texted before; the campaign {becomes}.",
        )
    if row.was_texted_lately and row.last_texted_at is not None:
        yield Stop(
            rule="min_days_between",
            detail=f"Another campaign texted the number less than {row.min_days_between} days ago.",
            until=row.last_texted_at + timedelta(days=row.min_days_between),
        )
    if row.was_texted_often:
        yield Stop(
            rule="legal_frequency",
            detail="The law of the person's state allows no further text for now.",
            until=row.often_until,
        )
    if row.is_capped:
        cap = row.frequency_cap
        yield Stop(
            rule="frequency_cap",
            detail=f"The number has had its {cap['texts']} campaign texts in {cap['days']} days.",
            until=row.capped_until,
        )


def _hours(case: _Case) -> Iterator[Stop]:
    until = case.hours.opening(case.now)
    if not case.hours.are_own_open(case.now):
        yield Stop(rule="outside_schedule", detail="The campaign's hours are over.", until=until)
    if not case.hours.are_legal_open(case.now):
        yield Stop(
            rule="outside_legal_hours",
            detail="At the person's place no text may be sent at this hour.",
            until=until,
        )


def _caps(case: _Case) -> Iterator[Stop]:
    row = case.row
    zone = ZoneInfo(row.line_timezone)
    today = case.now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = (today + timedelta(days=1)).astimezone(case.now.tzinfo)
    if case.line_used >= row.line_limit:
        ramps = row.line_limit < row.line_daily_limit
        yield Stop(
            rule="line_ramp" if ramps else "line_daily_limit",
            detail=f"The line has used its {row.line_limit} texts of today"
            + (", by the plan for a new line." if ramps else "."),
            until=tomorrow,
        )
    if case.campaign_used >= row.daily_limit:
        yield Stop(
            rule="campaign_daily_limit",
            detail=f"The campaign has used its {row.daily_limit} texts of today.",
            until=tomorrow,
        )


def _pace(case: _Case) -> Iterator[Stop]:
    row = case.row
    until = pacing.waits_until(pacing_of(row, sharers=1), pace_of(row), case.now)
    if until is not None:
        yield Stop(
            rule="pacing",
            detail=f"The campaign sends {row.pacing_mode}; its next text may leave later.",
            until=until,
        )


def _due(case: _Case) -> Iterator[Stop]:
    row = case.row
    if row.status != MembershipStatus.PENDING or row.due_at <= case.now:
        return
    if row.step > 0 and row.attempts == 0:
        detail = "This is a follow-up; it is due later, unless the person answers or calls."
        yield Stop(rule="follow_up_waits", detail=detail, until=row.due_at)
        return
    yield Stop(
        rule="waiting",
        detail="An earlier try was put off; the next one is due later.",
        until=row.due_at,
    )


def _text(case: _Case) -> Iterator[Stop]:
    row = case.row
    compose = Wordings(
        variants=row.variants,
        follow_ups=row.follow_ups,
        footer=row.opt_out_footer,
        business=case.business,
    )
    try:
        compose(row, row)
    except InvalidError as error:
        yield Stop(rule=error.code, detail=error.detail)


RULES: tuple[Callable[[_Case], Iterator[Stop]], ...] = (
    _recipient,
    _campaign,
    _line,
    _consent,
    _number,
    _hours,
    _caps,
    _pace,
    _due,
    _text,
)
"""In the order in which a person would ask."""
