"""Check, before a campaign is started, that it can send messages and breaks no rule."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.approvals import require_approval
from crm_api.domain.campaigns.audience.selection import (
    STATEMENTS_KEPT,
    AudienceConditions,
    AudienceSettings,
    assess_audience,
    resolve_audience,
)
from crm_api.domain.campaigns.campaign_detail import CampaignDetail
from crm_api.domain.campaigns.drafts import content, identification
from crm_api.domain.campaigns.drafts.references import find_unknown_sources
from crm_api.domain.campaigns.errors import EmptyAudienceError, InvalidCampaignError
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.schedule import first_opening, next_open, resolve_zones
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.errors import CrmError, FieldProblem
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.kit.windows import Window
from crm_api.domain.messaging.company.service import Business
from crm_api.platform.database import UnitOfWork


async def check_start(
    uow: UnitOfWork,
    detail: CampaignDetail,
    *,
    sender: Business | None,
    rules: RuleBook,
    now: datetime,
) -> None:
    """Raise an error if the campaign could send nothing, or if its first message is not allowed.

    The content is checked again, because dates may have passed and lists may have been deleted.

    Args:
        sender: The business that the first message must name; None leaves out this check.

    Raises:
        InvalidCampaignError: At least one of these conditions is true:

            - ``start_at`` or ``end_at`` is in the past.
            - A list, segment or campaign that the audience names was deleted.
            - The campaign's hours never overlap the legal hours.
        MissingIdentificationError: A first message does not name the sender, or does not say how to
            opt out.
        ApprovalNeededError: The company requires an approval, and the campaign has none.
        EmptyAudienceError: No contact of the audience may get a message.
    """
    for check in _checks(uow, detail, sender=sender, rules=rules, now=now):
        await check()


async def find_start_problems(
    uow: UnitOfWork,
    detail: CampaignDetail,
    *,
    sender: Business | None,
    rules: RuleBook,
    now: datetime,
) -> list[CrmError]:
    """Return all errors for which ``check_start`` would refuse the start, not only the first.

    The checks end at the first ``InvalidCampaignError``, because later checks could need data that
    is missing. This error is then the last one in the list.
    """
    problems: list[CrmError] = []
    for check in _checks(uow, detail, sender=sender, rules=rules, now=now):
        try:
            await check()
        except CrmError as error:
            problems.append(error)
            if isinstance(error, InvalidCampaignError):
                # The remaining checks are left out, because they would read a list, segment or
                # campaign that does not exist.
                break
    return problems


def _checks(
    uow: UnitOfWork,
    detail: CampaignDetail,
    *,
    sender: Business | None,
    rules: RuleBook,
    now: datetime,
) -> list[Callable[[], Awaitable[None]]]:
    """Return the checks of a start, in order. Each check raises an error to refuse the start."""
    campaign = detail.campaign

    async def check_content() -> None:
        columns = content.columns_of_campaign(campaign)
        content.refuse_faults(
            [
                *content.find_date_faults(columns, now=now),
                *await find_unknown_sources(uow, campaign.audience),
            ]
        )

    async def check_identification() -> None:
        if sender is not None:
            identification.require_identification(
                detail.variants, footer=campaign.opt_out_footer, business=sender, line=detail.line
            )

    return [
        check_content,
        check_identification,
        partial(require_approval, uow, detail),
        partial(_require_reachable_person, uow, detail, rules=rules, now=now),
    ]


async def _require_reachable_person(
    uow: UnitOfWork, detail: CampaignDetail, *, rules: RuleBook, now: datetime
) -> None:
    """Raise an error unless at least one person of the audience can get a message.

    Raises:
        InvalidCampaignError: There are people who may get a message, but the campaign never sends
            in hours that are allowed for them.
        EmptyAudienceError: No person may get a message.
    """
    hours = _Hours.of(detail, rules=rules, now=now)
    shut: list[str] = []
    while zone_key := await _find_reachable_zone(uow.session, detail.campaign, shut=shut, now=now):
        if hours.opens(zone_key):
            return
        shut.append(zone_key)
    if shut:
        content.refuse_faults([hours.never_open(shut)])
    raise EmptyAudienceError


@lru_cache(maxsize=STATEMENTS_KEPT)
def reachable_zone_statement(conditions: AudienceConditions) -> TextClause:
    """Return the SQL statement that selects the zone key of any one person who may get a message.

    The SQL parameter ``shut`` is a list of zone keys; their people are not selected.
    """
    return text(f"""
        WITH {assess_audience(conditions)}
        SELECT s.zone_key FROM assessed s
        WHERE s.verdict IN ('pending', 'review') AND s.zone_key <> ALL(CAST(:shut AS text[]))
        LIMIT 1
    """)


async def _find_reachable_zone(
    session: AsyncSession, campaign: Campaign, *, shut: Sequence[str], now: datetime
) -> str | None:
    """Return the zone key of one person in the audience who may get a message.

    Args:
        session: The session.
        campaign: The campaign.
        shut: The zone keys whose people are ignored.
        now: The instant of the assumed start.

    Returns:
        The zone key. None if no person outside ``shut`` may get a message.
    """
    audience = await resolve_audience(session, AudienceSettings.of(campaign), as_of=now)
    statement = reachable_zone_statement(audience.conditions)
    values = {**audience.values, "shut": list(shut)}
    found: str | None = await session.scalar(statement, values)
    return found


@dataclass(frozen=True, kw_only=True)
class _Hours:
    """The hours in which a campaign may send, from its start to its end."""

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

    def opens(self, zone_key: str) -> bool:
        opening = self._first(zone_key)
        return opening is not None and (self.end_at is None or opening < self.end_at)

    def never_open(self, zone_keys: Sequence[str]) -> FieldProblem:
        """Return the field error for a campaign that can never send to people with these zone keys.

        The error says why. A zone key consists of the states and time zones that are possible for a
        person.
        """
        openings = [
            opening for zone_key in zone_keys if (opening := self._first(zone_key)) is not None
        ]
        if openings:
            pointer = "/schedule/end_at"
            detail = (
                "The campaign would end before its first message. Its days, its window and the "
                f"legal hours allow the first message at {format_instant(min(openings))}. Choose "
                "an `end_at` after that."
            )
        elif any(
            next_open(self.window, self._zones(zone_key), self.begins_at) for zone_key in zone_keys
        ):
            pointer = "/schedule/window"
            detail = (
                "The legal hours never overlap the campaign's days and window in the time zone of "
                "any recipient. Widen the window or add days. If a contact may be in several time "
                "zones, set the contact's `timezone`. GET /v1/compliance-rules lists the legal "
                "hours."
            )
        else:
            pointer = "/schedule/window"
            detail = (
                "A recipient may be in several time zones, and the window is never open in all of "
                "them at the same time. Widen the window, or set `timezone` to one time zone."
            )
        return FieldProblem(pointer=pointer, code="never_open", detail=detail)

    def _first(self, zone_key: str) -> datetime | None:
        legal = partial(self.rules.next_open, zone_key)
        return first_opening(self.window, self._zones(zone_key), self.begins_at, legal=legal)

    def _zones(self, zone_key: str) -> tuple[str, ...]:
        return resolve_zones(self.timezone, self.line_timezone, zone_key)
