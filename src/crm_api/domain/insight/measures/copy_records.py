"""Copy answers, replies and outcomes to tables that are faster to read than the records.

The tables are ``insight_answer``, ``insight_reply`` and ``insight_outcome``. The last job adds the
place of the person (ZIP, city and source) to the copies.
"""

from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.models import MESSAGE_HOUR, REPLY_MICROSECONDS
from crm_api.domain.insight.measures.dimensions import BREAKDOWNS, PLACES, Dimension
from crm_api.domain.insight.measures.models import ANSWERS_UNTIL, REPLIES_UNTIL
from crm_api.domain.insight.measures.queries import select_answers
from crm_api.domain.insight.measures.update_sums import may_run, next_hours
from crm_api.platform.database import UnitOfWork

MOST_MESSAGES = 20_000
"""One step reads whole hours. It ends, at the latest, with the hour in which it has read more
messages than this."""
MOST_CHANGES = 2_000
"""The largest number of changes that one step takes into account."""

# An hour is stored when no transaction is open that began within an hour after it: each change of
# it is then either visible or noted by the triggers (see ``update_place_sums``).
NEXT_ANSWERS = text(f"""
    SELECT u.until AS since, greatest(u.until, least(
        date_trunc('hour', now() - interval '2 hours', 'UTC'),
        date_trunc('hour', (
            SELECT min(a.xact_start) FROM pg_stat_activity a
            WHERE a.datname = current_database() AND a.backend_type = 'client backend')
            - interval '1 hour', 'UTC'),
        (SELECT date_trunc('hour', a.occurred_at, 'UTC') + interval '1 hour'
         FROM activity a
         WHERE a.kind = 'message' AND a.origin IN ('manual', 'provider')
           AND a.occurred_at >= u.until
         ORDER BY a.occurred_at OFFSET :most LIMIT 1))) AS until,
        EXISTS (SELECT FROM insight_answer_change c WHERE c.at < u.until) AS has_changes
    FROM (SELECT {ANSWERS_UNTIL} AS until) u
""")
# A conversation whose change is not taken yet stays out of date, so the others are not affected.
TAKE_ANSWER_CHANGES = text("""
    WITH taken AS (
        DELETE FROM insight_answer_change c
        WHERE c.id = ANY(ARRAY(
            SELECT o.id FROM insight_answer_change o WHERE o.at < :until ORDER BY o.id LIMIT :most))
        RETURNING c.conversation_id, c.at
    ), changed AS (
        SELECT DISTINCT t.conversation_id FROM taken t WHERE t.at < :since
    ), gone AS (
        DELETE FROM insight_answer k
        WHERE k.conversation_id = ANY(ARRAY(SELECT c.conversation_id FROM changed c))
    )
    SELECT (SELECT count(*) FROM taken) AS taken,
           ARRAY(SELECT c.conversation_id FROM changed c) AS conversations
""")
_ANSWER_COLUMNS = """a.id, a.conversation_id, a.contact_id, a.occurred_at,
        CAST(extract(epoch FROM a.occurred_at - w.at) * 1000000 AS bigint)"""
_CHANGED_CONVERSATIONS = """unnest(CAST(:conversations AS uuid[])) AS s (conversation_id)
        CROSS JOIN LATERAL (
            SELECT a.* FROM activity a WHERE a.conversation_id = s.conversation_id OFFSET 0) a"""
_NEW_ANSWERS = "AND a.occurred_at >= :since AND a.occurred_at < :until"
# This statement sees at least what `TAKE_ANSWER_CHANGES` saw. If both parts of the statement select
# an answer, the two rows are equal.
STORE_ANSWERS = text(f"""
    WITH found AS (
        {select_answers(_ANSWER_COLUMNS, where=_NEW_ANSWERS)}
        UNION
        {
    select_answers(
        _ANSWER_COLUMNS, source=_CHANGED_CONVERSATIONS, where="AND a.occurred_at < :until"
    )
}
    )
    INSERT INTO insight_answer (id, conversation_id, contact_id, at, waited)
    SELECT f.* FROM found f
    ON CONFLICT (id) DO NOTHING
""")
PASS_ANSWERS = text("""
    INSERT INTO insight_answer_until (id, until) VALUES (1, :until)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until
""")


async def copy_answers(
    uow: UnitOfWork, *, most: int = MOST_MESSAGES, most_changes: int = MOST_CHANGES
) -> bool:
    """Copy the answers of the next hours; copy the answers of changed conversations again.

    Only one transaction does so at a time.

    Returns:
        Whether there may be more to copy.
    """
    session = uow.session
    if not await may_run(session, "insight_answer"):
        return False
    step = await next_hours(session, NEXT_ANSWERS, most=most)
    if step is None:
        return False
    period = {"since": step.since, "until": step.until}
    taken = (await session.execute(TAKE_ANSWER_CHANGES, {**period, "most": most_changes})).one()
    await session.execute(STORE_ANSWERS, {**period, "conversations": taken.conversations})
    await session.execute(PASS_ANSWERS, {"until": step.until})
    return True


# Formatted with the name of a month, which consists of the table's name and a date.
_FORGET_MONTH = "DELETE FROM insight_answer k WHERE k.id = ANY(ARRAY(SELECT a.id FROM {name} a))"
_NOTE_MONTH = """
    INSERT INTO insight_answer_change (conversation_id, at)
    SELECT k.conversation_id, min(k.at) FROM insight_answer k
    WHERE k.conversation_id = ANY(ARRAY(
        SELECT DISTINCT a.conversation_id FROM {name} a WHERE a.kind = 'message'))
    GROUP BY k.conversation_id
"""


async def delete_answer_copies_of_month(session: AsyncSession, name: str) -> None:
    """Delete the stored answers of one month, after the partition of its messages was detached.

    Answers in later months can depend on the detached messages, if they belong to the same
    conversations. So the job stores these answers again. Until then, figures compute them from the
    messages.
    """
    await session.execute(text(_FORGET_MONTH.format(name=name)))
    await session.execute(text(_NOTE_MONTH.format(name=name)))


MOST_REPLIES = 20_000
"""One step copies whole hours. It ends, at the latest, with the hour in which it has copied more
replies than this."""
_REPLIED = "m.status IN ('sent', 'delivered') AND m.replied_at IS NOT NULL"

# A reply counts for 72 hours, so messages are stored after 74: few change later. An hour is stored
# when no transaction is open that began within 73 hours after it: each change of it is then either
# visible or noted by the triggers (see ``update_place_sums``).
NEXT_REPLIES = text(f"""
    SELECT u.until AS since, greatest(u.until, least(
        date_trunc('hour', now() - interval '74 hours', 'UTC'),
        date_trunc('hour', (
            SELECT min(a.xact_start) FROM pg_stat_activity a
            WHERE a.datname = current_database() AND a.backend_type = 'client backend')
            - interval '73 hours', 'UTC'),
        (SELECT {MESSAGE_HOUR} + interval '1 hour'
         FROM campaign_membership m
         WHERE {_REPLIED} AND {MESSAGE_HOUR} >= u.until
         ORDER BY {MESSAGE_HOUR} OFFSET :most LIMIT 1))) AS until,
        EXISTS (SELECT FROM insight_reply_change) AS has_changes
    FROM (SELECT {REPLIES_UNTIL} AS until) u
""")
# A message with a change that is not taken yet stays out of date.
TAKE_REPLY_CHANGES = text("""
    WITH taken AS (
        DELETE FROM insight_reply_change c
        WHERE c.id = ANY(ARRAY(
            SELECT o.id FROM insight_reply_change o ORDER BY o.id LIMIT :most))
        RETURNING c.membership_id
    ), gone AS (
        DELETE FROM insight_reply k
        WHERE k.id = ANY(ARRAY(SELECT t.membership_id FROM taken t))
    )
    SELECT ARRAY(SELECT DISTINCT t.membership_id FROM taken t) AS ids
""")
_REPLY = f"""
        SELECT m.id, m.contact_id, m.sent_at, {REPLY_MICROSECONDS}
        FROM campaign_membership m
        WHERE {_REPLIED} AND m.replied_at >= m.sent_at AND m.step = 0"""
# It sees all that `TAKE_REPLY_CHANGES` saw. A reply that both parts find is the same in both.
STORE_REPLIES = text(f"""
    INSERT INTO insight_reply (id, contact_id, at, waited)
    {_REPLY} AND {MESSAGE_HOUR} >= :since AND {MESSAGE_HOUR} < :until
    UNION
    {_REPLY} AND m.id = ANY(CAST(:ids AS uuid[])) AND m.sent_at < :until
    ON CONFLICT (id) DO NOTHING
""")
PASS_REPLIES = text("""
    INSERT INTO insight_reply_until (id, until) VALUES (1, :until)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until
""")


async def copy_replies(
    uow: UnitOfWork, *, most: int = MOST_REPLIES, most_changes: int = MOST_CHANGES
) -> bool:
    """Copy the replies to the messages of the next hours; copy changed replies again.

    Only one transaction does so at a time.

    Returns:
        Whether there may be more to copy.
    """
    session = uow.session
    if not await may_run(session):
        return False
    step = await next_hours(session, NEXT_REPLIES, most=most)
    if step is None:
        return False
    ids = await session.scalar(TAKE_REPLY_CHANGES, {"most": most_changes})
    await session.execute(STORE_REPLIES, {"since": step.since, "until": step.until, "ids": ids})
    await session.execute(PASS_REPLIES, {"until": step.until})
    return True


MOST_OUTCOMES = 20_000
"""The largest number of changes that one step takes into account."""
# An outcome with a change that is not taken yet stays out of date.
TAKE_OUTCOME_CHANGES = text("""
    WITH taken AS (
        DELETE FROM insight_outcome_change c
        WHERE c.id = ANY(ARRAY(
            SELECT o.id FROM insight_outcome_change o ORDER BY o.id LIMIT :most))
        RETURNING c.outcome_id
    ), gone AS (
        DELETE FROM insight_outcome k
        WHERE k.id = ANY(ARRAY(SELECT t.outcome_id FROM taken t))
    )
    SELECT ARRAY(SELECT DISTINCT t.outcome_id FROM taken t) AS ids
""")
# It sees all that `TAKE_OUTCOME_CHANGES` saw. `OFFSET 0` forces one look-up for each outcome.
STORE_OUTCOMES = text("""
    INSERT INTO insight_outcome (id, contact_id, kind, at, amount_cents, source)
    SELECT o.id, s.contact_id, o.kind, o.occurred_at, o.amount_cents, o.source
    FROM unnest(CAST(:ids AS uuid[])) AS h (id)
    CROSS JOIN LATERAL (SELECT o.* FROM outcome o WHERE o.id = h.id OFFSET 0) o
    LEFT JOIN outcome_subject s ON s.outcome_id = o.id
    WHERE o.reverses_id IS NULL
      AND NOT EXISTS (
          SELECT FROM outcome r WHERE r.reverses_id = o.id AND r.reverses_id IS NOT NULL)
    ON CONFLICT (id) DO NOTHING
""")


async def copy_outcomes(uow: UnitOfWork, *, most: int = MOST_OUTCOMES) -> bool:
    """Copy new outcomes to ``insight_outcome``, and copy changed outcomes again.

    Only one transaction does so at a time.

    Returns:
        Whether there may be more to copy.
    """
    session = uow.session
    if not await may_run(session):
        return False
    ids: list[Any] = await session.scalar(TAKE_OUTCOME_CHANGES, {"most": most}) or []
    if ids:
        await session.execute(STORE_OUTCOMES, {"ids": ids})
    return bool(ids)


MOST_PLACES = 5_000
"""The largest number of records of each table to which one step adds the place."""
MOST_MOVES = 1_000
"""The largest number of people with a changed place that may wait for ``update_place_sums``. While
more of them wait, no places are added, because each record would be compared with all of them."""
# For each table, the SQL of the source of a record. Only outcomes have a source of their own.
_SOURCES = {
    "insight_answer": "CAST(NULL AS text)",
    "insight_outcome": "k.source",
    "insight_reply": "CAST(NULL AS text)",
}


def _add_place(table: str, source: str) -> TextClause:
    keys = ", ".join(f"nullif({BREAKDOWNS[one].key}, '') AS {one}" for one in PLACES)
    return text(f"""
        WITH wanted AS MATERIALIZED (
            SELECT k.id, k.contact_id, {source} AS source FROM {table} k
            WHERE NOT k.is_placed ORDER BY k.id LIMIT :most
        ), placed AS (
            SELECT b.id, {keys} FROM wanted b {BREAKDOWNS[Dimension.ZIP].joins}
        )
        UPDATE {table} k SET is_placed = true, {", ".join(f"{one} = x.{one}" for one in PLACES)}
        FROM placed x WHERE k.id = x.id
    """)


ADD_PLACES = [_add_place(table, source) for table, source in _SOURCES.items()]


HAS_MANY_MOVES = text("""
    SELECT count(*) > :most FROM (SELECT FROM insight_person_move v LIMIT :most + 1) m
""")


async def add_places(
    uow: UnitOfWork, *, most: int = MOST_PLACES, most_moves: int = MOST_MOVES
) -> bool:
    """Add the place of the person to the records that have no place yet.

    The added place is the place at which ``insight_person_tally`` (the sums by place) counts the
    person. To keep the two equal, no other transaction adds places while this transaction is open,
    and ``update_place_sums`` does not run.

    Returns:
        Whether there may be more records without a place.
    """
    session = uow.session
    if not await may_run(session):
        return False
    if await session.scalar(HAS_MANY_MOVES, {"most": most_moves}):
        return False
    placed = 0
    for statement in ADD_PLACES:
        found: Any = await session.execute(statement, {"most": most})
        placed += found.rowcount
    return placed > 0
