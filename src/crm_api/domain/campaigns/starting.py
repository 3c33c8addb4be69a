"""What a campaign must have before it starts: what could only fail in silence is told then."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import audience_queries, content, drafts, identification
from crm_api.domain.campaigns.content import CampaignDetail
from crm_api.domain.campaigns.errors import EmptyAudienceError
from crm_api.domain.campaigns.schedule import first_opening, next_open, resolve_zones
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.errors import FieldProblem
from crm_api.domain.schemas import format_instant
from crm_api.domain.windows import Window


async def require_ready(
    uow: UnitOfWork,
    detail: CampaignDetail,
    *,
    sender: Business | None,
    rules: RuleBook,
    now: datetime,
) -> None:
    """Refuse a start that would send nothing, or what must not be sent.

    What was right when the draft was saved is looked at again: dates pass, lists are deleted.

    Args:
        uow: The unit of work of the start.
        detail: The campaign.
        sender: Whom the first text must name, while it says how to stop; None where no rules ask.
        rules: The legal hours.
        now: The present instant.

    Raises:
        InvalidCampaignError: A date has passed, a list or campaign that it names is gone, or no
            minute is open.
        MissingIdentificationError: The first text does not name the sender or how to stop.
        EmptyAudienceError: Nobody in the audience may be texted.
    """
    campaign = detail.campaign
    columns = content.present_columns(campaign)
    content.refuse(
        [
            *content.date_faults(columns, now=now),
            *await drafts.unknown_sources(uow, campaign.audience),
        ]
    )
    if sender is not None:
        identification.require(
            detail.variants, footer=campaign.opt_out_footer, business=sender, line=detail.line
        )
    await _require_anyone(uow, detail, rules=rules, now=now)


async def _require_anyone(
    uow: UnitOfWork, detail: CampaignDetail, *, rules: RuleBook, now: datetime
) -> None:
    """Look for one person who may be texted at a place that opens.

    Almost always the first is; each place where it never does is asked about once.
    """
    hours = _Hours.of(detail, rules=rules, now=now)
    shut: list[str] = []
    while place := await audience_queries.find_anyone_to_text(
        uow.session, campaign=detail.campaign, shut=shut, now=now
    ):
        if hours.opens(place):
            return
        shut.append(place)
    if shut:
        content.refuse([hours.never_open(shut)])
    reason = "Nobody in the audience may be texted: it is empty, or all have opted out."
    raise EmptyAudienceError(
        reason, errors=[FieldProblem(pointer="/audience", code="empty_audience", detail=reason)]
    )


@dataclass(frozen=True, kw_only=True)
class _Hours:
    """When a campaign may send, from its start on."""

    window: Window
    timezone: str | None
    line_timezone: str
    rules: RuleBook
    begins_at: datetime
    end_at: datetime | None

    @classmethod
    def of(cls, detail: CampaignDetail, *, rules: RuleBook, now: datetime) -> "_Hours":
        campaign = detail.campaign
        return cls(
            window=Window.of(campaign.days, campaign.window_start, campaign.window_end),
            timezone=campaign.timezone,
            line_timezone=detail.line.timezone,
            rules=rules,
            begins_at=max(now, campaign.start_at or now),
            end_at=campaign.end_at,
        )

    def opens(self, place: str) -> bool:
        opening = self._first(place)
        return opening is not None and (self.end_at is None or opening < self.end_at)

    def never_open(self, places: Sequence[str]) -> FieldProblem:
        """Say why no text could leave for any of these places."""
        openings = [opening for place in places if (opening := self._first(place)) is not None]
        if openings:
            pointer = "/schedule/end_at"
            detail = (
                "The first minute that its days, its window and the legal hours allow is "
                f"{format_instant(min(openings))}, not before end_at. Choose a later end_at."
            )
        elif any(next_open(self.window, self._zones(place), self.begins_at) for place in places):
            pointer = "/schedule/window"
            detail = (
                "At no recipient's place do the legal hours ever meet its days and its window. "
                "Widen the window or add days; GET /v1/compliance-rules lists the hours."
            )
        else:
            pointer = "/schedule/window"
            detail = (
                "The window is never open at once in all zones where a recipient may be. Widen it, "
                "or name one time zone."
            )
        return FieldProblem(pointer=pointer, code="never_open", detail=detail)

    def _first(self, place: str) -> datetime | None:
        legal = partial(self.rules.next_open, place)
        return first_opening(self.window, self._zones(place), self.begins_at, legal=legal)

    def _zones(self, place: str) -> tuple[str, ...]:
        return resolve_zones(self.timezone, self.line_timezone, place)
