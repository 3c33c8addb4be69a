"""The subjects of notices: conversations, notes and tasks.

This module decides whether a subject still needs a notice, and which text the notice shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.consent.queries import is_blocked_sender
from crm_api.domain.identity.preferences.notices import NoticeKind
from crm_api.platform.database import UnitOfWork, typed_rows

WAITING_SINCE = "c.waiting_since"
"""SQL expression of the time of the oldest message or call that waits for an answer."""

LAST_HEARD = "greatest(c.waiting_since, c.last_incoming_at)"
"""SQL expression of the later of two times: the time of the oldest message or call that waits for
an answer, and the time of the person's last message."""

WAITS = "(c.state = 'waiting' AND c.waiting_since IS NOT NULL)"
"""SQL condition that the conversation waits for an answer, and is not snoozed."""

IS_FOR_USER = "(c.assignee_id = w.user_id OR c.assignee_id IS NULL)"
"""SQL condition that the conversation is assigned to the user, or to nobody."""

READ_UNTIL = """coalesce((
    SELECT r.read_until FROM conversation_read r
    WHERE r.caller_id = CAST({user_id} AS text) AND r.conversation_id = {conversation_id}
), '-infinity')"""
"""SQL expression of the time until which user ``{user_id}`` has read conversation
``{conversation_id}``."""


_OWN_READ_UNTIL = READ_UNTIL.format(user_id="w.user_id", conversation_id="c.id")
WAITS_UNREAD = f"""(
    {WAITS} AND {IS_FOR_USER} AND {LAST_HEARD} > {_OWN_READ_UNTIL}
    AND NOT {is_blocked_sender(phone="c.phone")})"""
"""SQL condition that user ``w.user_id`` needs a notice about conversation ``c``.

The condition is true if all of these are true:

- The conversation waits for an answer.
- It is assigned to this user or to nobody.
- The user has not read it since the person began to wait or last sent a message.
- Its phone number does not have the flag ``blocked_sender``.
"""

_NOTE_READ_UNTIL = READ_UNTIL.format(user_id="w.user_id", conversation_id="n.conversation_id")
MENTION_UNREAD = f"""(
    w.user_id = ANY(n.mentions) AND n.created_at > {_NOTE_READ_UNTIL})"""
"""SQL condition that note ``n`` mentions user ``w.user_id``, and that this user has not read it."""

TASK_DUE = """(
    t.done_at IS NULL AND t.due_at <= CAST(:now AS timestamptz)
    AND (t.assignee_id = w.user_id OR t.assignee_id IS NULL))"""
"""SQL condition that task ``t`` is due, and is assigned to user ``w.user_id`` or to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeItem:
    """A conversation, note or task about which a user must be notified, and the texts to show.

    Attributes:
        conversation_id: The conversation to open; None for a task without one.
        name: The person who waits, or the author of the note; None for a task.
        text: The message, the note, or the title of the task; None if empty.
    """

    subject_id: UUID
    conversation_id: UUID | None
    name: str | None
    text: str | None
    kind: NoticeKind = NoticeKind.REPLY


REPLY_ITEMS = text(f"""
    SELECT c.id AS subject_id, c.id AS conversation_id,
           coalesce(nullif(concat_ws(' ', p.first_name, p.last_name), ''), c.phone) AS name,
           (SELECT a.body FROM activity a
            WHERE a.conversation_id = c.id AND a.kind = 'message' AND a.direction = 'incoming'
            ORDER BY a.occurred_at DESC, a.id DESC LIMIT 1) AS text
    FROM conversation c CROSS JOIN (SELECT CAST(:user_id AS uuid) AS user_id) w
    LEFT JOIN contact p ON p.id = c.contact_id AND p.deleted_at IS NULL
    WHERE c.id = ANY(CAST(:subject_ids AS uuid[])) AND {WAITS_UNREAD}
    ORDER BY {WAITING_SINCE}, c.id
""")

MENTION_ITEMS = text(f"""
    SELECT n.id AS subject_id, n.conversation_id, coalesce(u.name, n.author) AS name,
           n.body AS text
    FROM conversation_note n CROSS JOIN (SELECT CAST(:user_id AS uuid) AS user_id) w
    LEFT JOIN app_user u ON lower(u.email) = lower(n.author)
    WHERE n.id = ANY(CAST(:subject_ids AS uuid[])) AND {MENTION_UNREAD}
    ORDER BY n.created_at, n.id
""")

TASK_ITEMS = text(f"""
    SELECT t.id AS subject_id, t.conversation_id, CAST(NULL AS text) AS name, t.title AS text
    FROM task t CROSS JOIN (SELECT CAST(:user_id AS uuid) AS user_id) w
    WHERE t.id = ANY(CAST(:subject_ids AS uuid[])) AND {TASK_DUE}
    ORDER BY t.due_at, t.id
""")

_ITEMS = {
    NoticeKind.REPLY: REPLY_ITEMS,
    NoticeKind.MENTION: MENTION_ITEMS,
    NoticeKind.TASK: TASK_ITEMS,
}


async def read_items(
    uow: UnitOfWork,
    subjects: Mapping[NoticeKind, Sequence[UUID]],
    *,
    user_id: UUID,
    now: datetime,
) -> list[NoticeItem]:
    """Return the notices that the user still needs about conversations, notes and tasks.

    For example, the user needs no notice about a message that the user has read. Conversations come
    first, then notes, then tasks.

    Args:
        subjects: The ids of the conversations, notes and tasks, by kind of notice.
    """
    items: list[NoticeItem] = []
    for kind, statement in _ITEMS.items():
        if ids := subjects.get(kind):
            values = {"user_id": user_id, "subject_ids": list(ids)}
            if kind in {NoticeKind.REPLY, NoticeKind.TASK}:
                values["now"] = now
            found = await uow.session.execute(statement, values)
            items += [replace(one, kind=kind) for one in typed_rows(NoticeItem, found)]
    return items
