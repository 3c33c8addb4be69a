"""Count the conversations of the inbox from sums that triggers keep.

Triggers append a row to ``conversation_tally`` for each change of what is counted, and note in
``conversation_read`` which conversations a caller has read completely. All of it is written in the
transaction of the change, so the counts equal the lists at every commit.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.office.inbox.rows import ME
from crm_api.platform.database import UnitOfWork, typed_row


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCounts:
    """The lengths of the lists of the inbox; the last three of waiting and open conversations."""

    waiting: int
    open: int
    snoozed: int
    unread: int
    mine: int
    unassigned: int


# Unread are those in which the person has written since the caller exists, except those that the
# caller has read completely. The sums have whole days, so the first day of the caller is counted
# row by row.
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
    """Count the conversations that are not done, as the caller sees them."""
    found = await uow.session.execute(COUNTS, {"caller_id": str(caller_id)})
    return typed_row(InboxCounts, found.one())


# Only one worker merges at a time. A second one would wait for the first and then find nothing.
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
"""The sums are merged if they have about this many rows more than twice what is needed."""


async def compact_conversation_tally(uow: UnitOfWork) -> None:
    """Merge the rows of ``conversation_tally`` if there are many. The sums do not change."""
    if await uow.session.scalar(COMPACT_LOCK):
        await uow.session.execute(COMPACT, {"rows": COMPACT_ABOVE})
