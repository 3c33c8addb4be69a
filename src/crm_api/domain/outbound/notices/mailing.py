"""Send a user one mail with the waiting notices."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.alerts.outgoing_mail import queue_mail
from crm_api.domain.identity.preferences.notices import NoticeKind
from crm_api.domain.outbound.notices.models import NoticeOutcome
from crm_api.domain.outbound.notices.subjects import read_items
from crm_api.domain.outbound.notices.watchers import Watcher
from crm_api.domain.outbound.notices.wording import write_notice_mail
from crm_api.platform.database import UnitOfWork, typed_rows

MAIL_EVERY = timedelta(minutes=15)
"""The shortest time between two mails to a user. Later notices wait for the next mail."""
MAIL_LASTS = timedelta(hours=12)
MOST_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedNotice:
    """A notice whose database row is locked until the transaction ends.

    Attributes:
        subject_id: The id of the conversation, note or task that the notice is about.
    """

    id: UUID
    kind: str
    subject_id: UUID


def subjects_of(notices: Sequence[LockedNotice]) -> dict[NoticeKind, list[UUID]]:
    """Return the subjects of these notices: the ids of conversations, notes and tasks.

    The ids are grouped by the kind of notice. Each id occurs once.
    """
    found: dict[NoticeKind, dict[UUID, None]] = defaultdict(dict)
    for one in notices:
        found[NoticeKind(one.kind)][one.subject_id] = None
    return {kind: list(ids) for kind, ids in found.items()}


# If another worker mails the same user at this moment, that worker has locked the user's notices,
# and this statement returns no row.
LOCK_NOTICES = text("""
    SELECT n.id, n.kind, n.subject_id FROM notice n
    WHERE n.user_id = :user_id AND n.channel = 'mail' AND n.ended_at IS NULL
      AND NOT EXISTS (
          SELECT 1 FROM notice l
          WHERE l.user_id = :user_id AND l.channel = 'mail' AND l.outcome = 'sent'
            AND l.ended_at > CAST(:mailed_before AS timestamptz))
    ORDER BY n.id LIMIT :limit
    FOR UPDATE OF n SKIP LOCKED
""")

END_NOTICES = text("""
    UPDATE notice SET ended_at = :now, outcome = :outcome, claimed_until = NULL
    WHERE id = ANY(CAST(:ids AS uuid[])) AND ended_at IS NULL
""")


async def end_notices(
    uow: UnitOfWork, ids: list[UUID], outcome: NoticeOutcome, *, now: datetime
) -> None:
    """Store an outcome, such as ``sent``, for these notices, so that nothing more is done for them.

    A notice that already has an outcome does not change.
    """
    if ids:
        values = {"ids": ids, "outcome": outcome.value, "now": now}
        await uow.session.execute(END_NOTICES, values)


async def mail_notices(
    uow: UnitOfWork, watcher: Watcher, *, name: str, app_url: str, secret: bytes, now: datetime
) -> int:
    """Queue one mail with the waiting notices of a user; return the number of items in the mail.

    One transaction queues the mail and ends the notices, so the mail is neither lost nor repeated.
    Unneeded notices are left out. Do nothing if the last mail is not older than ``MAIL_EVERY``.
    """
    found = await uow.session.execute(
        LOCK_NOTICES,
        {"user_id": watcher.user_id, "mailed_before": now - MAIL_EVERY, "limit": MOST_AT_ONCE},
    )
    locked = typed_rows(LockedNotice, found)
    if not locked:
        return 0
    items = await read_items(uow, subjects_of(locked), user_id=watcher.user_id, now=now)
    matter = {item.subject_id for item in items}
    sent = [one.id for one in locked if one.subject_id in matter]
    await end_notices(uow, sent, NoticeOutcome.SENT, now=now)
    gone = [one.id for one in locked if one.subject_id not in matter]
    await end_notices(uow, gone, NoticeOutcome.OBSOLETE, now=now)
    if not items:
        return 0
    subject, body = write_notice_mail(
        items, show_text=watcher.preferences.show_text, name=name, app_url=app_url
    )
    await queue_mail(
        uow,
        to=watcher.email,
        subject=subject,
        body=body,
        lasts=MAIL_LASTS,
        secret=secret,
        now=now,
    )
    return len(items)
