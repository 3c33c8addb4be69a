"""When a campaign may next have something to send, for whoever skips the time until then."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import planning
from crm_api.domain.campaigns.explain_hours import Hours
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import RuleBook

# One row for each place of a running campaign where somebody waits.
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


async def next_chance(
    uow: UnitOfWork, *, rules: RuleBook, business: Business, call: timedelta, now: datetime
) -> datetime | None:
    """Return the first instant from ``now`` on at which a campaign may begin or send.

    Never too late; too early it may be, where a limit is known only when somebody is claimed.

    Args:
        call: How long a call takes at most.

    Returns:
        None when nobody waits, or no window opens within weeks.
    """
    plan = await planning.plan(uow, rules=rules, business=business, now=now)
    if plan.orders:
        return now
    found = [] if plan.wakes_at is None else [plan.wakes_at]
    starts_at: datetime | None = await uow.session.scalar(_FIRST_START, {"now": now})
    if starts_at is not None:
        found.append(starts_at)
    for row in (await uow.session.execute(_FIRST_DUE, {"now": now})).all():
        hours = Hours.of(row, rules=rules, call=call)
        opening = hours.opening(max(row.due_at, now))
        if opening == now:
            # Due and open, and yet not planned: it waits for its pace, or its day is used up.
            opening = hours.opening(_next_day(now, row.line_timezone))
        if opening is not None:
            found.append(opening)
    return min(found, default=None)


def _next_day(now: datetime, zone: str) -> datetime:
    tomorrow = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), ZoneInfo(zone))
