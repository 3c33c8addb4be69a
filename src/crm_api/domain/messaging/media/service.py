"""Read media files and their downloads, start failed downloads again, and make signed links.

A signed link opens one file for a limited time without credentials.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts import service as alerts
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.messaging.media.errors import (
    MediaAlreadyStoredError,
    MediaFetchNotFoundError,
    MediaLinkExpiredError,
    MediaLinkInvalidError,
    MediaNotFoundError,
)
from crm_api.domain.messaging.media.fetching import DEAD_FETCH
from crm_api.domain.messaging.models.media import FetchStatus, Media, MediaFetch
from crm_api.platform.database import UnitOfWork, get_or_raise, typed_rows
from crm_api.platform.jobs import Job, JobName

DEFAULT_SECONDS = 600
"""How many seconds a link is valid if the request gives no duration."""
LONGEST_SECONDS = 86_400
_PURPOSE = b"media links"
"""Links are signed with a key that is derived from the secret and this text. So a signature that
was made with the secret for another purpose is not valid for a link."""


def sign_media_link(secret: bytes, *, media_id: UUID, expires: int) -> str:
    """Return the signature for a link to this file that expires at ``expires`` (Unix seconds)."""
    key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
    digest = hmac.new(key, f"{media_id}.{expires}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def make_media_link(
    secret: bytes, *, media_id: UUID, base_url: str, seconds: int, now: datetime
) -> tuple[str, datetime]:
    """Return the URL of a signed link to a file, and the instant at which the link expires.

    Args:
        seconds: How long the link is valid, from ``now``.
    """
    expires = int(now.timestamp()) + seconds
    signature = sign_media_link(secret, media_id=media_id, expires=expires)
    url = f"{base_url}/v1/media/{media_id}?expires={expires}&signature={signature}"
    return url, datetime.fromtimestamp(expires, UTC)


def check_media_link(
    secret: bytes, *, media_id: UUID, expires: str, signature: str, now: datetime
) -> None:
    """Check the signature and the expiry of a link to a file.

    Args:
        expires: The unchecked value from the link.
        signature: The unchecked value from the link.

    Raises:
        MediaLinkInvalidError: The link was changed or was signed with another key.
        MediaLinkExpiredError: The link has expired.
    """
    end = int(expires) if expires.isascii() and expires.isdecimal() and len(expires) < 12 else 0  # noqa: PLR2004 - no link expires after the year 5000
    wanted = sign_media_link(secret, media_id=media_id, expires=end)
    if not hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")):
        raise MediaLinkInvalidError(str(media_id))
    if now >= datetime.fromtimestamp(0, UTC) + timedelta(seconds=end):
        raise MediaLinkExpiredError(str(media_id))


@dataclass(frozen=True, kw_only=True)
class ShownFetch:
    """The download of one media file of a message or call, as the API shows it.

    ``media_id`` is None until the file is stored.
    """

    id: UUID
    activity_id: UUID
    kind: str
    url: str
    status: str
    error_code: str | None
    last_error: str | None
    media_id: UUID | None
    content_type: str | None
    size_bytes: int | None


SHOWN_FETCHES = text("""
    SELECT f.id, f.activity_id, f.kind, f.url, f.status, f.error_code, f.last_error, f.media_id,
           m.content_type, m.size_bytes
      FROM media_fetch f LEFT JOIN media m ON m.id = f.media_id
     WHERE f.activity_id = ANY(CAST(:activity_ids AS uuid[]))
     ORDER BY f.created_at, f.id
""")


async def read_shown_fetches(
    uow: UnitOfWork, *, activity_ids: Sequence[UUID]
) -> dict[UUID, list[ShownFetch]]:
    """Return the downloads of media files, by the id of their message or call.

    The downloads of one message or call are ordered from the oldest to the newest.
    """
    found: dict[UUID, list[ShownFetch]] = defaultdict(list)
    if activity_ids:
        rows = await uow.session.execute(SHOWN_FETCHES, {"activity_ids": list(activity_ids)})
        for one in typed_rows(ShownFetch, rows):
            found[one.activity_id].append(one)
    return found


async def get_media(uow: UnitOfWork, media_id: UUID) -> Media:
    """Return the row that describes a stored file: hash, type and size.

    Raises:
        MediaNotFoundError: No stored file has this id.
    """
    return await get_or_raise(uow.session, Media, media_id, MediaNotFoundError)


async def list_fetches(
    uow: UnitOfWork,
    *,
    status: FetchStatus | None,
    activity_id: UUID | None,
    cursor: str | None,
    limit: int,
) -> Page[MediaFetch]:
    """Return a page of fetches (downloads of media files), newest first.

    Args:
        status: Only fetches with this status; None for all.
        activity_id: Only fetches of this message or call; None for all.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    query = select(MediaFetch)
    if status is not None:
        query = query.where(MediaFetch.status == status.value)
    if activity_id is not None:
        query = query.where(MediaFetch.activity_id == activity_id)
    return await read_newest(
        uow.session,
        query,
        MediaFetch.created_at,
        MediaFetch.id,
        cursors=Cursors("media_fetches", status=status, activity_id=activity_id),
        cursor=cursor,
        limit=limit,
    )


RETRY_FETCH = text("""
    UPDATE media_fetch
       SET status = 'pending', attempts = 0, next_attempt_at = :now, error_code = NULL,
           last_error = NULL, updated_at = :now
     WHERE id = :id AND media_id IS NULL
""")


async def retry_fetch(uow: UnitOfWork, *, fetch_id: UUID, now: datetime) -> MediaFetch:
    """Start one fetch (the download of a file) again; the count of its attempts begins at 0.

    The job that fetches files is requested. A fetch is dead if all its attempts failed. The alert
    about an error code is resolved if no dead fetch has this code.

    Raises:
        MediaFetchNotFoundError: No fetch has this id.
        MediaAlreadyStoredError: The file is already stored.
    """
    fetch = await uow.session.get(MediaFetch, fetch_id, with_for_update=True)
    if fetch is None:
        raise MediaFetchNotFoundError
    if fetch.media_id is not None:
        raise MediaAlreadyStoredError(str(fetch.media_id))
    dead = await _read_dead_codes(uow.session)
    await uow.session.execute(RETRY_FETCH, {"id": fetch_id, "now": now})
    await _end_alerts(uow, dead, now=now)
    uow.after_commit(Job(name=JobName.FETCH_MEDIA))
    await uow.session.refresh(fetch)
    return fetch


RETRY_FETCHES = text("""
    UPDATE media_fetch
       SET status = 'pending', attempts = 0, next_attempt_at = :now, error_code = NULL,
           last_error = NULL, updated_at = :now
     WHERE status = :status
       AND (CAST(:error_code AS text) IS NULL OR error_code = :error_code)
    RETURNING id
""")


async def retry_fetches(
    uow: UnitOfWork, *, status: FetchStatus, error_code: str | None, now: datetime
) -> int:
    """Start downloads of media files again, and return their number.

    The attempts of each download are counted from 0 again. If a download was started, the download
    job is requested. A download is dead if all its attempts failed. The alert about an error code
    is resolved if no dead download has this code.

    Args:
        status: Only downloads with this status. If it is ``stored``, no download is started.
        error_code: Only downloads with this error code; None for all downloads.
    """
    if status is FetchStatus.STORED:
        return 0
    dead = await _read_dead_codes(uow.session)
    values = {"status": status.value, "error_code": error_code, "now": now}
    count = len((await uow.session.execute(RETRY_FETCHES, values)).all())
    if count:
        await _end_alerts(uow, dead, now=now)
        uow.after_commit(Job(name=JobName.FETCH_MEDIA))
    return count


DEAD_CODES = text("SELECT DISTINCT error_code FROM media_fetch WHERE status = 'dead'")


async def _read_dead_codes(session: AsyncSession) -> set[str]:
    """Return the different error codes of dead fetches.

    A fetch (download of a file) is dead if all its attempts failed.
    """
    return set(await session.scalars(DEAD_CODES))


async def _end_alerts(uow: UnitOfWork, dead: set[str], *, now: datetime) -> None:
    """Resolve the alert about each code of ``dead`` that no dead fetch has now.

    A fetch (download of a file) is dead if all its attempts failed. All dead fetches with the same
    error code share one alert. ``dead`` contains the error codes of the fetches that were dead
    before the change.
    """
    for code in sorted(dead - await _read_dead_codes(uow.session)):
        await alerts.resolve_alert(uow, kind=DEAD_FETCH, subject=code, now=now)
