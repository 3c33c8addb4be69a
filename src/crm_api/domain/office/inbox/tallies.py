"""Count the conversations of the inbox, with the help of rows that database triggers add.

If a counted value of a conversation changes, a trigger adds a row to ``conversation_tally``. Most
counts are sums of the rows of this table. A trigger also stores in ``conversation_read`` whether a
caller has read all messages of a conversation.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.office.inbox.rows import ME
from crm_api.platform.database import UnitOfWork, typed_row


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCounts:
    """The lengths of the lists of the inbox.

    ``unread``, ``mine`` and ``unassigned`` count only conversations in the states ``waiting`` and
    ``open``.
    """

    waiting: int
    open: int
    snoozed: int
    unread: int
    mine: int
    unassigned: int


# A conversation is unread if the person has written since the caller (a user or an API key) was
# created, and the caller has not read all messages. The stored sums are by day. So for the day on
# which the caller was created, the conversations are counted one by one.
COUNTS = text(f"""
    WITH {ME}, first_day AS MATERIALIZED (
        SELECT since, CAST(since AT TIME ZONE 'UTC' AS date) AS day FROM me
    ), sums AS (
        SELECT coalesce(sum(t.conversations) FILTER (WHERE t.state = 'waiting'), 0) AS waiting,
               coalesce(sum(t.conversations) FILTER (WHERE t.state = 'open'), 0) AS open,
               coalesce(sum(t.conversations) FILTER (WHERE t.state = 'snoozed'), 0) AS snoozed,
               coalesce(sum(t.conversations) FILTER (
                   WHERE t.state <> 'snoozed' AND NOT t.is_assigned), 0) AS unassigned,
               coalesce(sum(t.conversations) FILTER (
                   WHERE t.state <> 'snoozed' AND t.heard_on > (SELECT day FROM first_day)), 0)
                   AS heard_later
        FROM conversation_tally t
    ), heard_first AS (
        SELECT count(*) AS count FROM conversation k
        WHERE k.state IN ('waiting', 'open')
          AND k.last_incoming_at > (SELECT since FROM first_day)
          AND k.last_incoming_at < (SELECT (day + 1) AT TIME ZONE 'UTC' FROM first_day)
    ), read_all AS (
        SELECT count(*) AS count FROM conversation_read r
        WHERE r.caller_id = CAST(:caller_id AS text)
          AND r.read_all_of > (SELECT since FROM first_day)
    ), mine AS (
        SELECT count(*) AS count FROM conversation k
        WHERE k.assignee_id = CAST(:caller_id AS uuid) AND k.state IN ('waiting', 'open')
    )
    SELECT CAST(s.waiting AS bigint), CAST(s.open AS bigint), CAST(s.snoozed AS bigint),
           CAST(s.heard_later + f.count - r.count AS bigint) AS unread,
           m.count AS mine, CAST(s.unassigned AS bigint)
    FROM sums s, heard_first f, read_all r, mine m
""")


async def count_conversations(uow: UnitOfWork, *, caller_id: UUID) -> InboxCounts:
    """Return how many conversations the caller finds in each list of the inbox."""
    found = await uow.session.execute(COUNTS, {"caller_id": str(caller_id)})
    return typed_row(InboxCounts, found.one())


# Only one worker at a time merges the sums. A second worker would wait for the first worker, and
# then find nothing to merge.
COMPACT_LOCK = text("""
    SELECT pg_try_advisory_xact_lock(hashtextextended('compact_conversation_tally', 0))
""")

COMPACT = text("""
    WITH gone AS (
        DELETE FROM conversation_tally t
        WHERE (SELECT count(*) > :rows + 2 * count(DISTINCT (c.state, c.is_assigned, c.heard_on))
               FROM conversation_tally c)
        RETURNING t.state, t.is_assigned, t.heard_on, t.conversations
    )
    INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
    SELECT state, is_assigned, heard_on, sum(conversations)
    FROM gone GROUP BY state, is_assigned, heard_on HAVING sum(conversations) <> 0
""")

COMPACT_ABOVE = 1_000
"""The rows of sums are merged if there are more than ``2 * n + COMPACT_ABOVE`` rows.

``n`` is the largest number of rows that remain after a merge.
"""


async def compact_conversation_tally(uow: UnitOfWork) -> None:
    """Merge the rows of ``conversation_tally`` if there are many. The sums do not change."""
    if await uow.session.scalar(COMPACT_LOCK):
        await uow.session.execute(COMPACT, {"rows": COMPACT_ABOVE})
