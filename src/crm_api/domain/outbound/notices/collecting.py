"""Find waiting conversations, mentions and due tasks, and store a notice about each of them.

Each run reads the present state from the database, and does not use events. So a restart loses no
notice, and a message that a reconciliation adds later also causes notices.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from crm_api.domain.identity.preferences.notices import NoticeKind
from crm_api.domain.outbound.notices.subjects import (
    LAST_HEARD,
    MENTION_UNREAD,
    READ_UNTIL,
    TASK_DUE,
    WAITING_SINCE,
    WAITS_UNREAD,
)
from crm_api.domain.outbound.notices.watchers import Watcher
from crm_api.platform.database import UnitOfWork

LOOK_BACK = timedelta(days=1)
"""A conversation, a note or a task that has waited for longer than this causes no notice."""
KEPT_FOR = timedelta(days=7)
"""How long notices are kept. It must be longer than ``LOOK_BACK``, because a stored notice prevents
a second notice about the same thing."""

# Only one run collects notices at a time. Two runs at the same time would not see each other's
# notices. A message that arrives between the statements of these runs could then cause two notices.
LOCK_COLLECTION = text("SELECT pg_try_advisory_xact_lock(hashtextextended('crm-api notices', 0))")

_WATCHERS = """unnest(CAST(:user_ids AS uuid[]), CAST(:emails AS text[]),
        CAST(:channels AS text[]), CAST(:minutes AS integer[]))
    AS w (user_id, email, channel, minutes)"""
_DELAYED = "CAST(:now AS timestamptz) - make_interval(mins => w.minutes)"
_READ = READ_UNTIL.format(user_id="w.user_id", conversation_id="c.id")

# A user gets a notice when a person begins to wait. While the person waits, the user gets another
# notice only if the person writes again after the user has read the conversation.
COLLECT_REPLIES = text(f"""
    INSERT INTO notice (id, user_id, channel, kind, subject_id, about, created_at)
    SELECT uuid_v7(), w.user_id, w.channel, 'reply', c.id, {LAST_HEARD}, :now
    FROM conversation c CROSS JOIN {_WATCHERS}
    WHERE {WAITING_SINCE} > CAST(:since AS timestamptz) AND {WAITS_UNREAD}
      AND CASE WHEN {_READ} >= {WAITING_SINCE} THEN {LAST_HEARD} ELSE {WAITING_SINCE} END
          <= {_DELAYED}
      AND NOT EXISTS (
          SELECT 1 FROM notice n
          WHERE n.user_id = w.user_id AND n.channel = w.channel AND n.kind = 'reply'
            AND n.subject_id = c.id AND n.about >= {WAITING_SINCE} AND n.about > {_READ})
    ON CONFLICT DO NOTHING
""")

COLLECT_MENTIONS = text(f"""
    INSERT INTO notice (id, user_id, channel, kind, subject_id, about, created_at)
    SELECT uuid_v7(), w.user_id, w.channel, 'mention', n.id, n.created_at, :now
    FROM conversation_note n CROSS JOIN {_WATCHERS}
    WHERE n.mentions <> '{{}}' AND n.created_at > CAST(:since AS timestamptz)
      AND n.created_at <= {_DELAYED}
      AND {MENTION_UNREAD} AND lower(n.author) <> lower(w.email)
    ON CONFLICT DO NOTHING
""")

COLLECT_TASKS = text(f"""
    INSERT INTO notice (id, user_id, channel, kind, subject_id, about, created_at)
    SELECT uuid_v7(), w.user_id, w.channel, 'task', t.id, t.due_at, :now
    FROM task t CROSS JOIN {_WATCHERS}
    WHERE t.due_at > CAST(:since AS timestamptz) AND {TASK_DUE}
    ON CONFLICT DO NOTHING
""")

_COLLECT = {
    NoticeKind.REPLY: COLLECT_REPLIES,
    NoticeKind.MENTION: COLLECT_MENTIONS,
    NoticeKind.TASK: COLLECT_TASKS,
}


async def collect_notices(uow: UnitOfWork, watchers: Sequence[Watcher], *, now: datetime) -> None:
    """Store the notices that are missing, one for each subject, user and channel.

    A subject is a waiting conversation, a note that mentions the user, or a task. A conversation or
    note causes a notice if it stays unread for the number of minutes that the user has chosen. A
    task causes a notice when it is due. If another worker collects notices now, the function does
    nothing.
    """
    if not await uow.session.scalar(LOCK_COLLECTION):
        return
    for kind, statement in _COLLECT.items():
        values = _watching(watchers, kind)
        if values["user_ids"]:
            await uow.session.execute(statement, values | {"since": now - LOOK_BACK, "now": now})


def _watching(watchers: Sequence[Watcher], kind: NoticeKind) -> dict[str, list[Any]]:
    """Return SQL parameters: the users who want notices of a kind, and their channels.

    Each parameter is a list. Entries at the same index belong to the same user and channel.
    """
    pairs = [
        (watcher, channel)
        for watcher in watchers
        for channel, kinds in watcher.wanted.items()
        if kind in kinds
    ]
    return {
        "user_ids": [watcher.user_id for watcher, _ in pairs],
        "emails": [watcher.email for watcher, _ in pairs],
        "channels": [channel.value for _, channel in pairs],
        "minutes": [watcher.preferences.delay_minutes for watcher, _ in pairs],
    }


DELETE_OLD = text("DELETE FROM notice WHERE created_at < CAST(:before AS timestamptz)")


async def delete_old_notices(uow: UnitOfWork, *, now: datetime) -> None:
    """Delete the notices that are older than ``KEPT_FOR``."""
    await uow.session.execute(DELETE_OLD, {"before": now - KEPT_FOR})
