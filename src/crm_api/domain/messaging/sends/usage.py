"""Count the messages that the provider accepted, or may have accepted, today.

The counts are by line and by campaign. They include messages whose result is unclear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWork, typed_rows

# SQL expression of the limit of a line today. During a ramp plan (the daily limits of a new line on
# its first days), the limit is the plan's entry for the day. Before the first campaign message, the
# limit is the first entry. After the plan's last day, the limit is the daily limit, because
# PostgreSQL returns null for an index outside an array. The limit is never above the daily limit.
LINE_LIMIT = """least({line}.daily_limit, coalesce(
    {line}.ramp_plan[1 + greatest(0, coalesce(
        CAST(CAST(:now AS timestamptz) AT TIME ZONE {line}.timezone AS date)
            - {line}.ramp_started_on, 0))], {line}.daily_limit))"""


def limit_on(
    plan: Sequence[int] | None, started_on: date | None, daily_limit: int, day: date
) -> int:
    """Return how many messages a line may send on a day. ``LINE_LIMIT`` computes the same in SQL.

    Args:
        plan: The ramp plan: the limits of the first days, in order. After the last entry,
            ``daily_limit`` applies.
        started_on: The plan's first day, in the line's time zone. With None, the first entry
            applies.
        daily_limit: The upper bound for every day, also for the entries of the plan.
        day: The day in the line's time zone.
    """
    if not plan:
        return daily_limit
    # If the line's time zone was changed to a time zone further west, `started_on` can be after
    # `day`. Then the first entry of the plan applies.
    past = 0 if started_on is None else max(0, (day - started_on).days)
    return daily_limit if past >= len(plan) else min(plan[past], daily_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineUsage:
    """What a line and one campaign have sent today, and what limits their messages.

    Attributes:
        line_limit: The line's limit for today, from its ramp plan or its daily limit.
        ends_at: When the line's day ends.
        is_ramp_waiting: True if the line has a ramp plan that has not started.
        line_used: How many of the line's messages the provider accepted or may have accepted today.
            Open attempts count too.
        campaign_used: How many of the messages in ``line_used`` belong to the campaign.
        line_open: The number of the line's open attempts, with and without a campaign.
        next_at: When the pacing allows the next message; None before the campaign's first message.
        batch_left: The messages left in the batch; None before the campaign's first message.
    """

    line_id: UUID
    line_limit: int
    ends_at: datetime
    is_ramp_waiting: bool
    line_used: int
    campaign_used: int
    line_open: int
    next_at: datetime | None
    batch_left: int | None


# Open attempts belong to today. Accepted attempts belong to the day of acceptance, by the
# provider's clock and in the line's time zone; the table `send_tally` has their number per quarter
# of an hour. For parked attempts (unclear attempts that wait for a user) and not-found attempts,
# the acceptance is assumed between the gate (the last check before the call of the provider) and
# the end of the grace period. If midnight is in this time, such an attempt is included in both days
# (Sending, rule 9). The condition on `created_at` lets the planner use an index. This condition
# excludes no attempt, because every request begins within an hour after the row of its attempt was
# created.
USAGE = text(f"""
    SELECT d.line_id, d.line_limit, d.ends_at, d.is_ramp_waiting,
           CAST(coalesce(sum(u.texts), 0) AS integer) AS line_used,
           CAST(coalesce(sum(u.texts) FILTER (WHERE u.campaign_id = :campaign_id), 0) AS integer)
               AS campaign_used,
           CAST(coalesce(sum(u.texts) FILTER (WHERE u.is_open), 0) AS integer) AS line_open,
           (SELECT p.next_at FROM campaign_pace p WHERE p.campaign_id = :campaign_id) AS next_at,
           (SELECT p.batch_left FROM campaign_pace p WHERE p.campaign_id = :campaign_id)
               AS batch_left
    FROM (
        SELECT l.id AS line_id, {LINE_LIMIT.format(line="l")} AS line_limit,
               l.ramp_plan IS NOT NULL AND l.ramp_started_on IS NULL AS is_ramp_waiting,
               date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   AT TIME ZONE l.timezone AS starts_at,
               (date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   + interval '1 day') AT TIME ZONE l.timezone AS ends_at
        FROM line l WHERE l.id = ANY(CAST(:line_ids AS uuid[]))
    ) d LEFT JOIN LATERAL (
        SELECT a.campaign_id, count(*) AS texts, true AS is_open FROM send_attempt a
        WHERE a.line_id = d.line_id AND a.is_open GROUP BY a.campaign_id
        UNION ALL
        SELECT t.campaign_id, sum(t.texts), false FROM send_tally t
        WHERE t.line_id = d.line_id AND t.quarter >= d.starts_at AND t.quarter < d.ends_at
        GROUP BY t.campaign_id
        UNION ALL
        SELECT a.campaign_id, count(*), false FROM send_attempt a
        WHERE a.line_id = d.line_id AND a.is_uncertain AND a.called_at < d.ends_at
          AND a.called_at > d.starts_at - make_interval(secs => :grace)
          AND a.created_at > d.starts_at - make_interval(secs => :grace) - interval '1 hour'
        GROUP BY a.campaign_id
    ) u ON true
    GROUP BY d.line_id, d.line_limit, d.ends_at, d.is_ramp_waiting
""")


async def count_usage(
    session: AsyncSession,
    *,
    line_ids: Sequence[UUID],
    campaign_id: UUID | None,
    grace: float,
    now: datetime,
) -> list[LineUsage]:
    """Return how many messages each line has sent today, and its daily limit.

    A message also counts while it is unclear whether the provider accepted it.

    Args:
        campaign_id: A campaign whose messages are also counted separately.
        grace: The longest time, in seconds, until the provider accepts a message. If midnight falls
            in this time, an unclear message counts for both days.
    """
    values = {"line_ids": list(line_ids), "campaign_id": campaign_id, "grace": grace, "now": now}
    return typed_rows(LineUsage, await session.execute(USAGE, values))


async def count_sent_today(
    session: AsyncSession, *, line_ids: Sequence[UUID], times: SendTimes, now: datetime
) -> dict[UUID, int]:
    """Return how many messages each line has sent today, by line id.

    A message also counts while it is unclear whether the provider accepted it. Today is the current
    day in the line's time zone.
    """
    rows = await count_usage(
        session, line_ids=line_ids, campaign_id=None, grace=times.grace_seconds, now=now
    )
    return {row.line_id: row.line_used for row in rows}


async def count_campaign_sent_today(
    session: AsyncSession, *, campaign_id: UUID, line_id: UUID, times: SendTimes, now: datetime
) -> tuple[int, int]:
    """Count the messages of a campaign, and of its line, that the provider may have accepted today.

    Returns:
        Two numbers: the messages of the campaign, and all messages of the line.
    """
    rows = await count_usage(
        session, line_ids=[line_id], campaign_id=campaign_id, grace=times.grace_seconds, now=now
    )
    return (rows[0].campaign_used, rows[0].line_used) if rows else (0, 0)


# Only one transaction merges rows of the tally table at a time. A second transaction would only
# wait for the first and then find no rows to merge. The lock is taken in the same statement as the
# deletion. A row that another transaction has merged since the statement began is not deleted
# again, so the sums are right.
COMPACT_TALLIES = text("""
    WITH alone AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock(hashtextextended('compact_send_tally', 0)) AS is_locked
    ), gone AS (
        DELETE FROM send_tally t
        WHERE (SELECT a.is_locked FROM alone a) AND t.line_id IN (
            SELECT l.line_id FROM send_tally l
            GROUP BY l.line_id
            HAVING count(*) > :rows + 2 * count(DISTINCT (l.campaign_id, l.quarter)))
        RETURNING t.line_id, t.campaign_id, t.quarter, t.texts
    ), merged AS (
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, quarter, sum(texts) FROM gone
        WHERE quarter > CAST(:now AS timestamptz) - interval '3 days'
        GROUP BY line_id, campaign_id, quarter HAVING sum(texts) <> 0
    ), gone_of_carriers AS (
        DELETE FROM carrier_tally t
        WHERE (SELECT a.is_locked FROM alone a) AND (
            SELECT count(*) > :rows + 2 * count(DISTINCT (c.carrier, c.quarter))
            FROM carrier_tally c)
        RETURNING t.carrier, t.quarter, t.segments
    )
    INSERT INTO carrier_tally (carrier, quarter, segments)
    SELECT carrier, quarter, sum(segments) FROM gone_of_carriers
    WHERE quarter > CAST(:now AS timestamptz) - interval '3 days'
    GROUP BY carrier, quarter HAVING sum(segments) <> 0
""")

COMPACT_ABOVE = 200
"""The rows of a line in ``send_tally`` are merged if there are more than ``2 * n + COMPACT_ABOVE``.
Here ``n`` is the number of rows that a merge would make: one for each campaign and quarter of an
hour. The same formula applies to ``carrier_tally``, with one row for each carrier and quarter of an
hour."""


async def compact_tally(uow: UnitOfWork, *, now: datetime) -> None:
    """Merge rows of the tables ``send_tally`` and ``carrier_tally``, so that the tables stay small.

    Rows are merged only if there are too many (``COMPACT_ABOVE``). A merge makes one row for each
    of these combinations:

    - in ``send_tally``: a line, a campaign and a quarter of an hour
    - in ``carrier_tally``: a carrier and a quarter of an hour

    A merge also deletes the rows for times more than three days ago.
    """
    await uow.session.execute(COMPACT_TALLIES, {"rows": COMPACT_ABOVE, "now": now})
