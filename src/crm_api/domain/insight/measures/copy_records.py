"""Copy three kinds of records to tables that can be read faster.

- ``insight_answer``: messages in which a user answered a person.
- ``insight_reply``: first messages of campaigns to people who replied.
- ``insight_outcome``: outcomes.

If a record changes after it was copied, it is copied again. ``add_places`` adds the person's
place to the copies.
"""

from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.models import MESSAGE_HOUR, REPLY_MICROSECONDS
from crm_api.domain.insight.measures.dimensions import BREAKDOWNS, PLACES, Dimension
from crm_api.domain.insight.measures.models import ANSWERS_UNTIL, REPLIES_UNTIL
from crm_api.domain.insight.measures.queries import select_answers
from crm_api.domain.insight.measures.update_sums import next_hours, take_locks
from crm_api.platform.database import UnitOfWork

MOST_MESSAGES = 20_000
"""One run of ``copy_answers`` reads at most about this number of messages. It can read more,
because it always reads all messages of an hour."""
MOST_CHANGES = 2_000
"""One run of ``copy_answers`` processes at most this number of rows of ``insight_answer_change``.
One run of ``copy_replies`` processes at most this number of rows of ``insight_reply_change``."""

# The messages of an hour are copied only when every open transaction began at least one hour after
# the end of this hour. Then each change of these messages is either visible to this transaction, or
# recorded by the triggers.
NEXT_ANSWER_HOURS = text(f"""
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
# While the change of a conversation is still in the table of changes, figures do not use the copies
# of its answers.
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
# This statement runs after `TAKE_ANSWER_CHANGES`, so it sees at least the same data. Both parts of
# this statement may select the same answer. Then the two rows are equal, and `UNION` returns only
# one of them.
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
SET_ANSWERS_UNTIL = text("""
    INSERT INTO insight_answer_until (id, until) VALUES (1, :until)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until
""")


async def copy_answers(
    uow: UnitOfWork, *, most: int = MOST_MESSAGES, most_changes: int = MOST_CHANGES
) -> bool:
    """Copy the messages in which users answered people to the table ``insight_answer``.

    Each run copies the answers of the hours after the last copied hour. If a conversation changed,
    its answers are copied again. While another transaction copies records or updates the stored
    sums by place, this function does nothing.

    Returns:
        True if there may be more to copy. False if all is copied or nothing was done.
    """
    session = uow.session
    if not await take_locks(session, "insight_answer"):
        return False
    step = await next_hours(session, NEXT_ANSWER_HOURS, most=most)
    if step is None:
        return False
    period = {"since": step.since, "until": step.until}
    taken = (await session.execute(TAKE_ANSWER_CHANGES, {**period, "most": most_changes})).one()
    await session.execute(STORE_ANSWERS, {**period, "conversations": taken.conversations})
    await session.execute(SET_ANSWERS_UNTIL, {"until": step.until})
    return True


# `{name}` is replaced by the name of the partition. This is the name of the table and a date.
_DELETE_MONTH = "DELETE FROM insight_answer k WHERE k.id = ANY(ARRAY(SELECT a.id FROM {name} a))"
_NOTE_MONTH = """
    INSERT INTO insight_answer_change (conversation_id, at)
    SELECT k.conversation_id, min(k.at) FROM insight_answer k
    WHERE k.conversation_id = ANY(ARRAY(
        SELECT DISTINCT a.conversation_id FROM {name} a WHERE a.kind = 'message'))
    GROUP BY k.conversation_id
"""


async def delete_answer_copies_of_month(session: AsyncSession, name: str) -> None:
    """Delete the copied answers of one month, because the month's messages are removed.

    The same conversations may have answers in other months. Without the removed messages, the times
    that people waited for these answers may be different. So the conversations are added to
    ``insight_answer_change``, and ``copy_answers`` copies their remaining answers again.

    Args:
        name: The table with the month's messages.
    """
    await session.execute(text(_DELETE_MONTH.format(name=name)))
    await session.execute(text(_NOTE_MONTH.format(name=name)))


MOST_REPLIES = 20_000
"""One run of ``copy_replies`` copies at most about this number of replies. It can copy more,
because it always copies the replies to all messages of an hour."""
_REPLIED = "m.status IN ('sent', 'delivered') AND m.replied_at IS NOT NULL"

# Only a reply within 72 hours after the message is used. So messages are copied after 74 hours,
# because few messages change later. The messages of an hour are copied only when every open
# transaction began at least 73 hours after the end of this hour. Then each change of these messages
# is either visible to this transaction, or recorded by the triggers.
NEXT_REPLY_HOURS = text(f"""
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
# While the change of a message is still in the table of changes, figures do not use the copy of the
# message.
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
# This statement runs after `TAKE_REPLY_CHANGES`, so it sees at least the same data. Both parts of
# this statement may select the same reply. Then the two rows are equal, and `UNION` returns only
# one of them.
STORE_REPLIES = text(f"""
    INSERT INTO insight_reply (id, contact_id, at, waited)
    {_REPLY} AND {MESSAGE_HOUR} >= :since AND {MESSAGE_HOUR} < :until
    UNION
    {_REPLY} AND m.id = ANY(CAST(:ids AS uuid[])) AND m.sent_at < :until
    ON CONFLICT (id) DO NOTHING
""")
SET_REPLIES_UNTIL = text("""
    INSERT INTO insight_reply_until (id, until) VALUES (1, :until)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until
""")


async def copy_replies(
    uow: UnitOfWork, *, most: int = MOST_REPLIES, most_changes: int = MOST_CHANGES
) -> bool:
    """Fill ``insight_reply`` with copies of first messages of campaigns to people who replied.

    Each run copies the messages of the hours after the last copied hour. If a message or its reply
    changes, the message is copied again. While another transaction copies records or updates the
    stored sums by place, this function does nothing.

    Returns:
        True if there may be more to copy. False if all is copied or nothing was done.
    """
    session = uow.session
    if not await take_locks(session):
        return False
    step = await next_hours(session, NEXT_REPLY_HOURS, most=most)
    if step is None:
        return False
    ids = await session.scalar(TAKE_REPLY_CHANGES, {"most": most_changes})
    await session.execute(STORE_REPLIES, {"since": step.since, "until": step.until, "ids": ids})
    await session.execute(SET_REPLIES_UNTIL, {"until": step.until})
    return True


MOST_OUTCOMES = 20_000
"""One run of ``copy_outcomes`` processes at most this number of rows of
``insight_outcome_change``."""
# While the change of an outcome is still in the table of changes, figures do not use the copy of
# the outcome.
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
# Reversed outcomes, and the reversals themselves, are not copied, because the measures leave them
# out. `OFFSET 0` makes PostgreSQL look up the outcomes one by one.
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
    """Copy new and changed outcomes to ``insight_outcome``.

    While another transaction copies records or updates the stored sums by place, this function does
    nothing.

    Returns:
        True if there may be more to copy. False if all is copied or nothing was done.
    """
    session = uow.session
    if not await take_locks(session):
        return False
    ids: list[Any] = await session.scalar(TAKE_OUTCOME_CHANGES, {"most": most}) or []
    if ids:
        await session.execute(STORE_OUTCOMES, {"ids": ids})
    return bool(ids)


MOST_PLACES = 5_000
"""One run of ``add_places`` adds the place (ZIP, city and source) to at most this number of copies
in each table."""
MOST_MOVES = 1_000
"""``add_places`` does nothing while ``insight_person_move`` has more than this number of rows,
because each copy would have to be compared with all these rows."""
# For each table of copies, this is the SQL for the source of the record itself. Only outcomes have
# a source that is independent of the person's source.
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
    """Add the person's place to copied records that do not have it yet.

    While another transaction copies records or updates the stored sums by place, this function does
    nothing. It also does nothing while more than ``most_moves`` changes of people's places
    (``insight_person_move``) are missing in these sums. Until this transaction ends, no other
    transaction can copy records or update the stored sums by place.

    Returns:
        True if a place was added; then there may be more to add. False if no place was added.
    """
    session = uow.session
    if not await take_locks(session):
        return False
    if await session.scalar(HAS_MANY_MOVES, {"most": most_moves}):
        return False
    placed = 0
    for statement in ADD_PLACES:
        found: Any = await session.execute(statement, {"most": most})
        placed += found.rowcount
    return placed > 0
