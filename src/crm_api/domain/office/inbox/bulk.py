"""Change many conversations at once, after a dry run."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.office.inbox.bulk_schemas import BulkChange
from crm_api.domain.office.inbox.changes import WantedState, wanted_state
from crm_api.domain.office.inbox.rows import ME
from crm_api.domain.office.inbox.selection import InboxFilter, matching
from crm_api.domain.people.tags.tag_changes import add_tag
from crm_api.domain.people.tasks.service import check_assignee
from crm_api.platform.database import UnitOfWork, typed_row

MOST = 50_000
"""The largest number of conversations that one request changes. This takes some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The conversations that a request selects.

    Attributes:
        count: The number of conversations.
        digest: A hash of each conversation's id, its state, the time since which the person waits,
            and the time of the last message from the person. A request that is not a dry run is
            refused if its digest differs from the digest of its dry run. Then, for example, a new
            message has arrived that the user has not seen.
    """

    count: int
    digest: int


_SELECTED = """
    SELECT count(*) AS count, coalesce(bit_xor(hashtextextended(
        concat_ws('|', k.id, k.state, k.waiting_since, k.last_incoming_at), 0)), 0) AS digest
    FROM conversation k WHERE {matching}
"""


async def select_conversations(
    uow: UnitOfWork, wanted: InboxFilter, *, caller_id: UUID, now: datetime
) -> Selected:
    """Return the count and the digest of the conversations that a filter selects."""
    statement = text(f"WITH {ME} {_SELECTED.format(matching=matching(wanted))}")
    values = {**wanted.values, "caller_id": str(caller_id), "now": now}
    return typed_row(Selected, (await uow.session.execute(statement, values)).one())


_LOCKED = """
    SELECT k.id, k.contact_id FROM conversation k WHERE {matching}
    ORDER BY k.line_id, k.phone FOR NO KEY UPDATE
"""


async def change_conversations(
    uow: UnitOfWork,
    change: BulkChange,
    wanted: InboxFilter,
    *,
    caller_id: UUID,
    actor: str,
    now: datetime,
) -> None:
    """Change state, assignee and tags of the conversations that a filter selects.

    Raises:
        InvalidSnoozeError: ``state`` and ``snoozed_until`` do not fit together, or the time is not
            within the next year.
        UnknownAssigneeError: The assignee is not an active user.
    """
    values = {**wanted.values, "caller_id": str(caller_id), "now": now}
    where = matching(wanted)
    if change.add_tag is not None:
        # Lock order: contacts before conversations.
        statement = text(
            f"WITH {ME} SELECT DISTINCT k.contact_id FROM conversation k WHERE {where}"
        )
        found = await uow.session.scalars(statement, values)
        people = [one for one in found if one is not None]
        await add_tag(uow, tag=change.add_tag, contact_ids=people, actor=actor, now=now)
    state = await check_change(uow, change, now=now)
    statement = text(f"WITH {ME} {_LOCKED.format(matching=where)}")
    locked = await uow.session.execute(statement, values)
    ids = [row.id for row in locked]
    if "assignee_id" in change.model_fields_set:
        await uow.session.execute(
            ASSIGN, {"ids": ids, "assignee_id": change.assignee_id, "now": now}
        )
    if state.state is not None:
        named = {"state": state.state.value, "until": state.snoozed_until}
        await uow.session.execute(SET_STATE, {"ids": ids, "now": now, **named})


async def check_change(uow: UnitOfWork, change: BulkChange, *, now: datetime) -> WantedState:
    """Check a change, and return the state that it sets.

    Raises:
        InvalidSnoozeError: ``state`` and ``snoozed_until`` do not fit together, or the time is not
            within the next year.
        UnknownAssigneeError: The assignee is not an active user.
    """
    state = wanted_state(change.of_one(), now=now)
    await check_assignee(uow, change.assignee_id)
    return state


ASSIGN = text("""
    UPDATE conversation k SET assignee_id = CAST(:assignee_id AS uuid), updated_at = :now
    WHERE k.id = ANY(CAST(:ids AS uuid[]))
      AND k.assignee_id IS DISTINCT FROM CAST(:assignee_id AS uuid)
""")

# The same rules as in `changes.state_values`, which changes one conversation.
SET_STATE = text(f"""
    UPDATE conversation k
    SET state = CAST(:state AS text), snoozed_until = CAST(:until AS timestamptz),
        waiting_since = n.since, updated_at = :now,
        decided_at = CASE WHEN n.is_decision THEN CAST(:now AS timestamptz) ELSE k.decided_at END,
        decided_since = CASE WHEN n.is_decision THEN n.since ELSE k.decided_since END
    FROM (
        SELECT c.id, CAST(:state AS text) <> '{ConversationState.SNOOZED.value}' AS is_decision,
               CASE CAST(:state AS text)
                   WHEN '{ConversationState.SNOOZED.value}' THEN c.waiting_since
                   WHEN '{ConversationState.WAITING.value}'
                   THEN coalesce(c.waiting_since, c.last_incoming_at, :now) END AS since
        FROM conversation c WHERE c.id = ANY(CAST(:ids AS uuid[]))
    ) n
    WHERE k.id = n.id
      AND (k.state, k.snoozed_until) IS DISTINCT FROM
          (CAST(:state AS text), CAST(:until AS timestamptz))
""")
