"""Copy the answers of users to ``insight_answer``, from which figures read them fast.

The job copies the answers of whole hours. If a conversation changes later, the job copies the
answers of this conversation again.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.measures.answer_models import ANSWERS_UNTIL
from crm_api.domain.insight.measures.bases import select_answers
from crm_api.domain.insight.measures.settling import may_settle, next_step
from crm_api.platform.database import UnitOfWork

MOST = 20_000
"""One step reads whole hours. It ends, at the latest, with the hour in which it has read more
messages than this."""
MOST_CHANGES = 2_000
"""The largest number of changes that one step takes into account."""

# An hour is stored when no transaction is open that began within an hour after it: each change of
# it is then either visible or noted by the triggers (see ``settle_people``).
NEXT = text(f"""
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
TAKE = text("""
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
_COLUMNS = """a.id, a.conversation_id, a.contact_id, a.occurred_at,
        CAST(extract(epoch FROM a.occurred_at - w.at) * 1000000 AS bigint)"""
_CHANGED = """unnest(CAST(:conversations AS uuid[])) AS s (conversation_id)
        CROSS JOIN LATERAL (
            SELECT a.* FROM activity a WHERE a.conversation_id = s.conversation_id OFFSET 0) a"""
_FRESH = "AND a.occurred_at >= :since AND a.occurred_at < :until"
# This statement sees at least what `TAKE` saw. If an answer is in both parts, the two are equal.
STORE = text(f"""
    WITH found AS (
        {select_answers(_COLUMNS, among=_FRESH)}
        UNION
        {select_answers(_COLUMNS, source=_CHANGED, among="AND a.occurred_at < :until")}
    )
    INSERT INTO insight_answer (id, conversation_id, contact_id, at, waited)
    SELECT f.* FROM found f
    ON CONFLICT (id) DO NOTHING
""")
PASS = text("""
    INSERT INTO insight_answer_until (id, until) VALUES (1, :until)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until
""")


async def settle_answers(
    uow: UnitOfWork, *, most: int = MOST, most_changes: int = MOST_CHANGES
) -> bool:
    """Copy the answers of the next hours; copy the answers of changed conversations again.

    Only one transaction does so at a time.

    Returns:
        Whether there may be more to copy.
    """
    session = uow.session
    if not await may_settle(session, "insight_answer"):
        return False
    step = await next_step(session, NEXT, most=most)
    if step is None:
        return False
    period = {"since": step.since, "until": step.until}
    taken = (await session.execute(TAKE, {**period, "most": most_changes})).one()
    await session.execute(STORE, {**period, "conversations": taken.conversations})
    await session.execute(PASS, {"until": step.until})
    return True


# Formatted with the name of a month, which consists of the table's name and a date.
_FORGET = "DELETE FROM insight_answer k WHERE k.id = ANY(ARRAY(SELECT a.id FROM {name} a))"
_NOTE = """
    INSERT INTO insight_answer_change (conversation_id, at)
    SELECT k.conversation_id, min(k.at) FROM insight_answer k
    WHERE k.conversation_id = ANY(ARRAY(
        SELECT DISTINCT a.conversation_id FROM {name} a WHERE a.kind = 'message'))
    GROUP BY k.conversation_id
"""


async def forget_answers_of_month(session: AsyncSession, name: str) -> None:
    """Delete the stored answers of one month, after the partition of its messages was detached.

    Answers in later months can depend on the detached messages, if they belong to the same
    conversations. So the job stores these answers again. Until then, figures compute them from the
    messages.
    """
    await session.execute(text(_FORGET.format(name=name)))
    await session.execute(text(_NOTE.format(name=name)))
