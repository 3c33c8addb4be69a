"""Copy the replies to first messages to ``insight_reply``, from which figures read them fast.

The job copies the replies to the messages of whole hours. If a message or its reply changes later,
the job copies the reply again.
"""

from sqlalchemy import text

from crm_api.domain.campaigns.models import MESSAGE_HOUR, REPLY_MICROSECONDS
from crm_api.domain.insight.measures.reply_models import REPLIES_UNTIL
from crm_api.domain.insight.measures.settling import may_settle, next_step
from crm_api.platform.database import UnitOfWork

MOST = 20_000
"""One step stores whole hours. It ends, at the latest, with the hour in which it has stored more
replies than this."""
MOST_CHANGES = 2_000
"""The largest number of changes that one step takes into account."""
_REPLIED = "m.status IN ('sent', 'delivered') AND m.replied_at IS NOT NULL"

# A reply counts for 72 hours, so messages are stored after 74: few change later. An hour is stored
# when no transaction is open that began within 73 hours after it: each change of it is then either
# visible or noted by the triggers (see ``settle_people``).
NEXT = text(f"""
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
TAKE = text("""
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
_FOUND = f"""
        SELECT m.id, m.contact_id, m.sent_at, {REPLY_MICROSECONDS}
        FROM campaign_membership m
        WHERE {_REPLIED} AND m.replied_at >= m.sent_at AND m.step = 0"""
# It sees all that `TAKE` saw. A reply that both parts find is the same in both.
STORE = text(f"""
    INSERT INTO insight_reply (id, contact_id, at, waited)
    {_FOUND} AND {MESSAGE_HOUR} >= :since AND {MESSAGE_HOUR} < :until
    UNION
    {_FOUND} AND m.id = ANY(CAST(:ids AS uuid[])) AND m.sent_at < :until
    ON CONFLICT (id) DO NOTHING
""")
PASS = text("""
    INSERT INTO insight_reply_until (id, until) VALUES (1, :until)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until
""")


async def settle_replies(
    uow: UnitOfWork, *, most: int = MOST, most_changes: int = MOST_CHANGES
) -> bool:
    """Copy the replies to the messages of the next hours; copy changed replies again.

    Only one transaction does so at a time.

    Returns:
        Whether there may be more to copy.
    """
    session = uow.session
    if not await may_settle(session):
        return False
    step = await next_step(session, NEXT, most=most)
    if step is None:
        return False
    ids = await session.scalar(TAKE, {"most": most_changes})
    await session.execute(STORE, {"since": step.since, "until": step.until, "ids": ids})
    await session.execute(PASS, {"until": step.until})
    return True
