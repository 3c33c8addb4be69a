"""Reserve the web pushes of a user for one worker, and store what the push services responded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID

from sqlalchemy import delete, text, update

from crm_api.domain.kit.backoff import Backoff
from crm_api.domain.outbound.notices.mailing import (
    MOST_AT_ONCE,
    LockedNotice,
    end_notices,
    subjects_of,
)
from crm_api.domain.outbound.notices.models import NoticeOutcome
from crm_api.domain.outbound.notices.subjects import read_items
from crm_api.domain.outbound.notices.watchers import Watcher
from crm_api.domain.outbound.notices.wording import write_push
from crm_api.domain.outbound.web_push.push_message import PushTarget
from crm_api.domain.outbound.web_push.service import PushSubscription
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

CLAIMED_FOR = timedelta(minutes=2)
"""How long a worker owns the pushes that it claimed. All their requests take less time."""
WAITS = Backoff(first=timedelta(minutes=1), longest=timedelta(minutes=30))
MOST_ATTEMPTS = 8
"""The largest number of attempts to send a push, over about an hour and a half. After that time,
the notice would be too late to help the user."""
PUSH_LASTS = timedelta(hours=4)
"""How long the push service keeps a notice for a device that is not connected."""
GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
"""HTTP statuses of an ended subscription, which is then deleted (RFC 8030, section 7.3)."""
LATER = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
"""HTTP statuses after which the same push may succeed later.

A wrong clock of this machine can cause 401 and 403 for all users. So these two statuses do not
delete subscriptions.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClaimedNotice(LockedNotice):
    batch: UUID
    attempts: int


@dataclass(frozen=True, kw_only=True)
class ClaimedPush:
    """One push to all devices of a user, which only this worker sends.

    Attributes:
        ids: The ids of the notices.
        topic: The topic of the push. Each attempt has the same topic, so that a repeated push
            replaces the earlier one.
        payload: The JSON for the service worker.
        targets: The devices, by the id of the subscription.
        attempts: The number of this attempt; the first is 1.
    """

    ids: list[UUID]
    topic: str
    payload: bytes
    targets: dict[UUID, PushTarget]
    attempts: int


# A push that was claimed (reserved) before is sent again with the same notices, without newer
# notices. The repeated push has the same topic. So it replaces the first push on a device that has
# already shown it.
CLAIM_PUSH = text("""
    WITH waiting AS (
        SELECT n.id, n.batch FROM notice n
        WHERE n.user_id = :user_id AND n.channel = 'push' AND n.ended_at IS NULL
          AND (n.claimed_until IS NULL OR n.claimed_until <= CAST(:now AS timestamptz))
        ORDER BY n.id LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ), chosen AS (
        SELECT w.id FROM waiting w
        WHERE w.batch IS NOT DISTINCT FROM (
            SELECT f.batch FROM waiting f ORDER BY f.batch NULLS LAST LIMIT 1)
    )
    UPDATE notice n
    SET batch = coalesce(n.batch, CAST(:batch AS uuid)), attempts = n.attempts + 1,
        claimed_until = :claimed_until
    FROM chosen WHERE n.id = chosen.id
    RETURNING n.id, n.kind, n.subject_id, n.batch, n.attempts
""")

SUBSCRIPTIONS = text("""
    SELECT d.id, d.endpoint, d.p256dh, d.auth FROM push_subscription d
    WHERE d.user_id = :user_id ORDER BY d.created_at DESC, d.id DESC
""")


async def claim_push(uow: UnitOfWork, watcher: Watcher, *, now: datetime) -> ClaimedPush | None:
    """Reserve the waiting notices of a user for one push, which this worker then sends.

    Return None if the user has no notice to send.

    Notices that are no longer needed are marked as obsolete. The caller must commit before it sends
    requests to the push services.
    """
    claimed = typed_rows(
        _ClaimedNotice,
        await uow.session.execute(
            CLAIM_PUSH,
            {
                "user_id": watcher.user_id,
                "batch": new_id(),
                "claimed_until": now + CLAIMED_FOR,
                "limit": MOST_AT_ONCE,
                "now": now,
            },
        ),
    )
    if not claimed:
        return None
    devices = (await uow.session.execute(SUBSCRIPTIONS, {"user_id": watcher.user_id})).all()
    items = await read_items(uow, subjects_of(claimed), user_id=watcher.user_id, now=now)
    matter = {item.subject_id for item in items} if devices else set()
    gone = [one.id for one in claimed if one.subject_id not in matter]
    await end_notices(uow, gone, NoticeOutcome.OBSOLETE, now=now)
    ids = [one.id for one in claimed if one.subject_id in matter]
    if not ids:
        return None
    topic = claimed[0].batch.hex
    return ClaimedPush(
        ids=ids,
        topic=topic,
        payload=write_push(items, show_text=watcher.preferences.show_text, tag=topic),
        targets={
            one.id: PushTarget(endpoint=one.endpoint, p256dh=one.p256dh, auth=one.auth)
            for one in devices
        },
        attempts=max(one.attempts for one in claimed),
    )


@dataclass(frozen=True, kw_only=True)
class PushResult:
    """The result of a push to one device.

    Attributes:
        status: The HTTP status of the push service; None if it did not answer.
        is_refused: True if the message could not be encrypted for this device.
    """

    subscription_id: UUID
    status: int | None = None
    is_refused: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether the push service accepted the message."""
        return self.status is not None and HTTPStatus(200) <= self.status < HTTPStatus(300)

    @property
    def is_over(self) -> bool:
        """Whether the subscription is no longer usable, so that it must be deleted."""
        return self.is_refused or self.status in GONE

    @property
    def may_work_later(self) -> bool:
        """Whether the same request may succeed later."""
        return (
            self.status is None
            or self.status in LATER
            or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        ) and not self.is_refused


POSTPONE = text("""
    UPDATE notice SET claimed_until = :until
    WHERE id = ANY(CAST(:ids AS uuid[])) AND ended_at IS NULL
""")


async def record_push(
    uow: UnitOfWork, push: ClaimedPush, results: Sequence[PushResult], *, now: datetime
) -> None:
    """Store the results of a push, and delete the subscriptions (devices) that have ended.

    - If a device accepted the push, the notices become ``sent``. The push is never repeated,
      because a repeated push goes to all devices.
    - If no device accepted the push, but a later attempt may succeed, the push is repeated later.
      There are at most ``MOST_ATTEMPTS`` attempts.
    - In all other cases, the notices become ``failed``.
    """
    over = [one.subscription_id for one in results if one.is_over]
    if over:
        await uow.session.execute(delete(PushSubscription).where(PushSubscription.id.in_(over)))
    accepted = [one.subscription_id for one in results if one.is_accepted]
    if accepted:
        await uow.session.execute(
            update(PushSubscription)
            .where(PushSubscription.id.in_(accepted))
            .values(last_success_at=now)
        )
        await end_notices(uow, push.ids, NoticeOutcome.SENT, now=now)
    elif push.attempts < MOST_ATTEMPTS and any(one.may_work_later for one in results):
        until = now + WAITS.wait(push.attempts)
        await uow.session.execute(POSTPONE, {"ids": push.ids, "until": until})
    else:
        await end_notices(uow, push.ids, NoticeOutcome.FAILED, now=now)
