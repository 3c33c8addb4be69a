"""Find the next instant at which a campaign may send.

The clock of the sandbox, which simulates the provider, can skip to this instant.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text

from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.campaigns.schedule import RecipientHours
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.messaging.company.service import Business
from crm_api.platform.database import UnitOfWork, typed_rows

# This statement gives one row for each running campaign and each of its zone keys (states and time
# zones in which a person may live) with waiting recipients.
_FIRST_DUE = text("""
    SELECT c.days, c.window_start, c.window_end, c.timezone, l.timezone AS line_timezone,
           x.zone_key, greatest(due.due_at, c.start_at) AS due_at
    FROM campaign c JOIN line l ON l.id = c.line_id
    CROSS JOIN LATERAL unnest(c.zone_keys) AS x (zone_key)
    CROSS JOIN LATERAL (
        SELECT m.due_at FROM campaign_membership m
        WHERE m.campaign_id = c.id AND m.zone_key = x.zone_key AND m.status = 'pending'
        ORDER BY m.due_at LIMIT 1
    ) AS due
    WHERE c.status = 'running' AND l.status = 'active' AND (c.end_at IS NULL OR c.end_at > :now)
""")

_FIRST_START = text("""
    SELECT min(start_at) FROM campaign WHERE status = 'scheduled' AND start_at > :now
""")


@dataclass(frozen=True, slots=True)
class _FirstDue:
    """The due time of the first waiting recipient, for one running campaign and one zone key.

    A zone key is a text with the states and time zones in which a recipient may live. The object
    also has the sending hours of the campaign and the time zone of its line.
    """

    days: list[str]
    window_start: time
    window_end: time
    timezone: str | None
    line_timezone: str
    zone_key: str
    due_at: datetime


async def find_next_send(
    uow: UnitOfWork, *, rules: RuleBook, business: Business, call: timedelta, now: datetime
) -> datetime | None:
    """Return the first instant, not before ``now``, at which a campaign may start or send.

    No campaign starts or sends before this instant. A limit may delay a campaign beyond this
    instant.

    Args:
        call: The longest duration of a request to the provider. A request must end within the
            hours in which messages are allowed.

    Returns:
        None if no campaign is scheduled, and no waiting recipient can get a message within six
        weeks.
    """
    plan = await planning.plan_sends(uow, rules=rules, business=business, now=now)
    if plan.orders:
        return now
    found = [] if plan.wakes_at is None else [plan.wakes_at]
    starts_at: datetime | None = await uow.session.scalar(_FIRST_START, {"now": now})
    if starts_at is not None:
        found.append(starts_at)
    for row in typed_rows(_FirstDue, await uow.session.execute(_FIRST_DUE, {"now": now})):
        hours = RecipientHours.of(row, rules=rules, call=call)
        opening = hours.opening(max(row.due_at, now))
        if opening == now:
            # The recipient is due and the hours allow a message now, but the plan does not include
            # the campaign. The reason is a daily limit that is reached, or the pacing, which delays
            # the next message.
            opening = hours.opening(_next_day(now, row.line_timezone))
        if opening is not None:
            found.append(opening)
    return min(found, default=None)


def _next_day(now: datetime, zone: str) -> datetime:
    tomorrow = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), ZoneInfo(zone))
