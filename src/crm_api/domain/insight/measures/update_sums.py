"""Update the stored sums of messages and sending attempts, so that figures can be read faster.

``merge_hour_sums`` updates ``insight_tally``, and ``update_place_sums`` updates
``insight_person_tally``. An update does not change a figure, because a figure also counts the
records that are not in the sums yet.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.measures.models import PLACE_SUMS_UNTIL
from crm_api.platform.database import UnitOfWork, typed_row

_COUNTS = (
    *("sent", "delivered", "failed", "replied", "interested", "opted_out", "accepted", "segments"),
)
LOCK_MERGE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('merge_insight_tally', 0))")
_HOUR_KEY = "t.grain, t.campaign_id, t.step, t.variant, t.at"
_SUMS = ", ".join(f"sum(t.{one})" for one in _COUNTS)
# `OFFSET 0` makes PostgreSQL look up each key in the index, independently of the statistics.
MERGE = text(f"""
    WITH fresh AS MATERIALIZED (
        SELECT t.id, {_HOUR_KEY} FROM insight_tally t
        WHERE NOT t.is_merged ORDER BY t.id LIMIT :limit
    ), wanted AS (
        SELECT f.id FROM fresh f
        UNION ALL
        SELECT m.id FROM (SELECT DISTINCT {_HOUR_KEY} FROM fresh t) k
        CROSS JOIN LATERAL (
            SELECT t.id FROM insight_tally t
            WHERE t.campaign_id = k.campaign_id AND t.grain = k.grain AND t.at = k.at
              AND t.step = k.step AND t.variant = k.variant AND t.is_merged OFFSET 0) m
    ), gone AS (
        DELETE FROM insight_tally t WHERE t.id = ANY(ARRAY(SELECT w.id FROM wanted w))
        RETURNING t.*
    ), merged AS (
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, {", ".join(_COUNTS)},
            is_merged)
        SELECT {_HOUR_KEY}, {_SUMS}, true FROM gone t GROUP BY {_HOUR_KEY}
        HAVING {" OR ".join(f"sum(t.{one}) <> 0" for one in _COUNTS)}
    )
    SELECT count(*) FROM fresh
""")
MOST_MERGED = 20_000
"""The largest number of rows that one statement merges."""


async def merge_hour_sums(uow: UnitOfWork, *, most: int = MOST_MERGED) -> int:
    """Merge new rows of ``insight_tally`` with the earlier rows of the same hour or day.

    Only rows of the same campaign, step, variant and granularity are merged into one row. Only
    one transaction merges at a time.

    Returns:
        The number of new rows that were merged; 0 if another transaction is merging.
    """
    if not await uow.session.scalar(LOCK_MERGE):
        return 0
    return int(await uow.session.scalar(MERGE, {"limit": most}) or 0)


SUMS_LOCK = "insight_person_tally"
"""The name of an advisory lock. Each job that copies records, or updates the sums by place (ZIP,
city and source), takes this lock. In earlier releases, only the job that updates the sums by place
took it."""
_TAKE_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


async def take_locks(session: AsyncSession, name: str = SUMS_LOCK) -> bool:
    """Take the locks of a job that copies records or updates sums.

    If another transaction has one of the locks, False is returned at once. All these jobs take
    ``SUMS_LOCK``, so only one of the jobs runs at a time. Locks last until the end of the
    transaction.

    Args:
        name: The name of a lock that is taken before ``SUMS_LOCK``. Workers of an earlier release
            take only the lock with this name.
    """
    for one in dict.fromkeys((name, SUMS_LOCK)):
        if not await session.scalar(_TAKE_LOCK, {"name": one}):
            return False
    return True


@dataclass(frozen=True, slots=True)
class HourStep:
    """The hours whose records a job processes next.

    Attributes:
        since: The beginning of these hours. All earlier records are already processed.
        until: The end of these hours, exclusive.
        has_changes: Whether processed records changed, so that the job must correct the sums or the
            copies.
    """

    since: datetime
    until: datetime
    has_changes: bool


async def next_hours(session: AsyncSession, statement: TextClause, *, most: int) -> HourStep | None:
    """Return the hours whose records a job must process next; None if there is nothing to do.

    If processed records changed, but there are no new hours, ``since`` equals ``until``.

    Args:
        session: The session, with the locks of ``take_locks``.
        statement: Selects ``since``, ``until`` and ``has_changes``. Its parameter is ``most``.
        most: About how many records the hours should have. There can be more records, because hours
            are never divided.
    """
    step = typed_row(HourStep, (await session.execute(statement, {"most": most})).one())
    return step if step.since < step.until or step.has_changes else None


MOST_MESSAGES = 200_000
"""One run of ``update_place_sums`` adds at most about this number of messages. It can add more,
because it always adds all messages of an hour."""
MOST_PEOPLE = 500
"""One run of ``update_place_sums`` moves at most this number of people from the sums of their
former place to the sums of their new place (ZIP, city and source)."""
_MOST_STEPS = 21
"""The largest number of steps of a campaign: the first message and 20 follow-ups."""

# A trigger records the change of a message only if the message is more than one hour older than the
# beginning of the transaction. So the messages of an hour are added only when every open
# transaction began at least one hour after the end of this hour. The triggers use `now()`, so this
# statement uses it too, even if a sandbox has a clock of its own.
NEXT_HOURS = text(f"""
    SELECT u.until AS since, greatest(u.until, least(
        date_trunc('hour', now() - interval '2 hours', 'UTC'),
        date_trunc('hour', (
            SELECT min(a.xact_start) FROM pg_stat_activity a
            WHERE a.datname = current_database() AND a.backend_type = 'client backend')
            - interval '1 hour', 'UTC'),
        (SELECT date_trunc('hour', coalesce(m.sent_at, m.due_at), 'UTC') + interval '1 hour'
         FROM campaign_membership m
         WHERE m.status IN ('sent', 'delivered', 'failed')
           AND coalesce(m.sent_at, m.due_at) >= u.until
         ORDER BY coalesce(m.sent_at, m.due_at) OFFSET :most LIMIT 1))) AS until,
        EXISTS (SELECT FROM insight_person_change c WHERE c.at < u.until)
            OR EXISTS (SELECT FROM insight_person_move) AS has_changes
    FROM (SELECT {PLACE_SUMS_UNTIL} AS until) u
""")
_MESSAGE = """m.contact_id, {is_old} AS is_old, m.step = 0 AS is_first,
            coalesce(m.sent_at, m.due_at) AS at,
            {sign} * (m.status <> 'failed')::integer AS sent,
            {sign} * (m.status = 'delivered')::integer AS delivered,
            {sign} * (m.status = 'failed')::integer AS failed,
            {sign} * (m.status <> 'failed' AND m.replied_at IS NOT NULL)::integer AS replied,
            {sign} * (m.status <> 'failed' AND m.replied_at IS NOT NULL
                AND m.is_interested)::integer AS interested,
            {sign} * (m.status <> 'failed' AND m.opted_out_at IS NOT NULL)::integer AS opted_out,
            0 AS accepted, 0 AS segments"""
_ATTEMPT = """m.contact_id, {is_old}, false, a.accepted_at, 0, 0, 0, 0, 0, 0, {sign},
            {sign} * coalesce(a.segments, 1)"""
_NEW = {"is_old": "false", "sign": "1"}
_MOVED = {"is_old": "v.is_old", "sign": "v.sign"}
_SIDES = "(VALUES (true, -1), (false, 1)) AS v (is_old, sign)"
# All parts of this statement see the same snapshot. A person whose place (ZIP, city and source)
# changed is still included in the sums of the former place. These sums do not yet include the late
# changes of the person's records. So the late changes are first added to the sums of the former
# place. Then all records of the person are subtracted from these sums, and added to the sums of the
# new place.
ADD_TO_PLACE_SUMS = text(f"""
    WITH move AS MATERIALIZED (
        SELECT f.*, row_number() OVER (ORDER BY f.id) <= :people AS is_moved FROM (
            SELECT DISTINCT ON (v.contact_id) v.* FROM insight_person_move v
            ORDER BY v.contact_id, v.id) f
    ), moved AS MATERIALIZED (
        SELECT v.contact_id FROM move v WHERE v.is_moved
    ), arrived AS (
        DELETE FROM insight_person_move v USING moved o WHERE v.contact_id = o.contact_id
    ), change AS (
        DELETE FROM insight_person_change c WHERE c.at < :until RETURNING c.*
    ), theirs AS MATERIALIZED (
        SELECT m.* FROM moved o CROSS JOIN LATERAL (
            SELECT m.* FROM campaign_membership m
            WHERE m.contact_id = o.contact_id AND m.step = ANY(CAST(:steps AS smallint[]))
              AND m.campaign_id = ANY(ARRAY(SELECT g.id FROM campaign g)) OFFSET 0) m
    ), entry AS (
        SELECT c.contact_id, true AS is_old, c.is_first, c.at,
               {", ".join(f"c.{one}" for one in _COUNTS)}
        FROM change c WHERE c.at < :since
        UNION ALL
        SELECT {_MESSAGE.format(**_NEW)}
        FROM campaign_membership m
        WHERE m.status IN ('sent', 'delivered', 'failed')
          AND coalesce(m.sent_at, m.due_at) >= :since AND coalesce(m.sent_at, m.due_at) < :until
        UNION ALL
        SELECT {_ATTEMPT.format(**_NEW)}
        FROM send_attempt a LEFT JOIN campaign_membership m ON m.id = a.membership_id
        WHERE a.accepted_at >= :since AND a.accepted_at < :until
        UNION ALL
        SELECT {_MESSAGE.format(**_MOVED)}
        FROM theirs m CROSS JOIN {_SIDES}
        WHERE m.status IN ('sent', 'delivered', 'failed')
          AND coalesce(m.sent_at, m.due_at) < :since
        UNION ALL
        SELECT {_ATTEMPT.format(**_MOVED)}
        FROM theirs m JOIN send_attempt a ON a.membership_id = m.id CROSS JOIN {_SIDES}
        WHERE a.accepted_at < :since
    ), placed AS (
        SELECT n.*, date_trunc('day', n.at, 'UTC') AS day,
               nullif(left(CASE WHEN r.stays THEN f.postal_code ELSE p.postal_code END, 5), '')
                   AS zip,
               nullif(CASE WHEN r.stays THEN f.city ELSE p.city END, '') AS city,
               nullif(CASE WHEN r.stays THEN f.source ELSE p.source END, '') AS source
        FROM entry n
        LEFT JOIN contact e ON e.id = n.contact_id
        LEFT JOIN contact p ON p.id = coalesce(e.merged_into, e.id)
        LEFT JOIN move f ON f.contact_id = n.contact_id
        CROSS JOIN LATERAL (
            SELECT f.contact_id IS NOT NULL AND (n.is_old OR NOT f.is_moved) AS stays) r
    ), summed AS MATERIALIZED (
        SELECT CASE WHEN grouping(x.zip) = 0 THEN 'zip' WHEN grouping(x.city) = 0 THEN 'city'
                    ELSE 'source' END AS dimension,
               coalesce(x.zip, x.city, x.source) AS key, x.day, x.is_first, min(x.at) AS first_at,
               {", ".join(f"sum(x.{one}) AS {one}" for one in _COUNTS)}
        FROM placed x
        GROUP BY GROUPING SETS ((x.zip, x.day, x.is_first), (x.city, x.day, x.is_first),
            (x.source, x.day, x.is_first))
    ), added AS (
        INSERT INTO insight_person_tally AS t (dimension, key, grain, at, is_first, first_at,
            {", ".join(_COUNTS)})
        SELECT x.dimension, x.key, g.grain, g.at, x.is_first, min(x.first_at),
               {", ".join(f"sum(x.{one})" for one in _COUNTS)}
        FROM summed x CROSS JOIN LATERAL (VALUES
            ('day', x.day), ('month', date_trunc('month', x.day, 'UTC'))) AS g (grain, at)
        GROUP BY x.dimension, x.key, g.grain, g.at, x.is_first
        HAVING {" OR ".join(f"sum(x.{one}) <> 0" for one in _COUNTS)}
        ON CONFLICT (dimension, grain, at, is_first, key) DO UPDATE SET
            first_at = least(t.first_at, excluded.first_at),
            {", ".join(f"{one} = t.{one} + excluded.{one}" for one in _COUNTS)}
    )
    INSERT INTO insight_person_until (id, until) VALUES (1, :until)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until
""")


async def update_place_sums(uow: UnitOfWork, *, most: int = MOST_MESSAGES) -> bool:
    """Update the stored sums by ZIP, city and source.

    New messages and attempts are added, beginning with the oldest hours. If messages, attempts or
    places of people changed, the sums are corrected. While another transaction copies records or
    updates the stored sums, this function does nothing.

    Returns:
        Whether there may be more to add.
    """
    session = uow.session
    if not await take_locks(session):
        return False
    step = await next_hours(session, NEXT_HOURS, most=most)
    if step is None:
        return False
    values = {
        "since": step.since,
        "until": step.until,
        "people": MOST_PEOPLE,
        "steps": list(range(_MOST_STEPS)),
    }
    await session.execute(ADD_TO_PLACE_SUMS, values)
    return True
