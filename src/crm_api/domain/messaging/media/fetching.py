"""Download pictures, recordings and voicemail from the provider and put them in the media store.

A *fetch* is a row in ``media_fetch``: one file to download. A worker claims (reserves) a fetch
before it downloads the file.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.backoff import Backoff
from crm_api.domain.messaging.media.download import Downloader
from crm_api.domain.messaging.media.errors import FetchError, MediaStoreUnavailableError
from crm_api.domain.messaging.media.file_types import LARGEST, MEGABYTE, require_type
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.models.media import FetchStatus, MediaKind
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

log = structlog.get_logger()

LEASE = timedelta(minutes=2)
"""How long a fetch (the download of one file) belongs to the worker that claimed it. This is longer
than a download and the write to the media store together."""
WAITS = Backoff(first=timedelta(minutes=2), longest=timedelta(hours=12), factor=4)
MOST_ATTEMPTS = 7
"""The number of failed attempts after which a fetch (the download of one file) is dead, so that it
is not tried again. The waits between two attempts are at most 2 min, 8 min, 32 min, 2 h, 8.5 h and
12 h."""
DEAD_FETCH = AlertKind.MEDIA_FETCH_DEAD
"""The kind of the alert that reports a dead fetch (a download that is not tried again)."""

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random


@dataclass(frozen=True, kw_only=True)
class FileAddress:
    """The URL and the kind of a file, as given in an event from the provider."""

    kind: MediaKind
    url: str


@dataclass(frozen=True, kw_only=True)
class ClaimedFetch:
    """A fetch (download of a file) that this worker has claimed (reserved).

    Other workers skip the fetch until the worker's lease (the time of the reservation) ends.

    Attributes:
        attempts: The number of attempts so far, including the one that begins now.
    """

    id: UUID
    activity_id: UUID
    kind: str
    url: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that was written to the media store."""

    sha256: str
    content_type: str
    size_bytes: int


FetchResult = StoredFile | FetchError
"""The result of one attempt to download a file: a file in the media store or an error."""


STORE_ADDRESSES = text("""
    INSERT INTO media_fetch (id, activity_id, kind, url, next_attempt_at, created_at, updated_at)
    SELECT wanted.id, :activity_id, wanted.kind, wanted.url, :now, :now, :now
      FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:urls AS text[]))
        AS wanted (id, kind, url)
    ON CONFLICT (activity_id, md5(url)) DO NOTHING
    RETURNING id
""")


async def note_files(
    uow: UnitOfWork, *, activity_id: UUID, wanted: Sequence[FileAddress], now: datetime
) -> None:
    """Plan the downloads of the files of a message or a call.

    A file whose download is already planned is skipped. If at least one new download is planned,
    the job that downloads files is requested.
    """
    if not wanted:
        return
    stored = await uow.session.execute(
        STORE_ADDRESSES,
        {
            "activity_id": activity_id,
            "ids": [new_id() for _ in wanted],
            "kinds": [one.kind.value for one in wanted],
            "urls": [one.url for one in wanted],
            "now": now,
        },
    )
    if stored.all():
        uow.after_commit(Job(name=JobName.FETCH_MEDIA))


CLAIM_FETCHES = text("""
    UPDATE media_fetch
       SET attempts = attempts + 1, next_attempt_at = :lease_until, updated_at = :now
     WHERE id IN (
           SELECT id FROM media_fetch
            WHERE status IN ('pending', 'failed') AND next_attempt_at <= :now
            ORDER BY next_attempt_at, id
            LIMIT :limit
              FOR UPDATE SKIP LOCKED)
    RETURNING id, activity_id, kind, url, attempts
""")


async def claim_fetches(uow: UnitOfWork, *, limit: int, now: datetime) -> list[ClaimedFetch]:
    """Claim (reserve) up to ``limit`` due downloads, in the order in which they became due.

    If a worker does not record the result of a download within ``LEASE``, another worker can claim
    the download.
    """
    values = {"limit": limit, "now": now, "lease_until": now + LEASE}
    return typed_rows(ClaimedFetch, await uow.session.execute(CLAIM_FETCHES, values))


async def fetch_file(
    claimed: ClaimedFetch, *, downloader: Downloader, store: MediaStore
) -> FetchResult:
    """Download a file and write it to the media store, without an open transaction.

    ``record_fetch`` stores the result in the database. If the worker stops before the result is
    stored, the next attempt downloads the file again. The file is not stored twice.
    """
    if claimed.attempts > MOST_ATTEMPTS:
        return FetchError(
            "gave_up", "The worker stopped during every attempt to download the file."
        )
    try:
        return await _download_and_store(claimed, downloader=downloader, store=store)
    except FetchError as error:
        return error
    except MediaStoreUnavailableError as error:
        return FetchError(error.code, error.detail)
    except Exception as error:  # an error of one file must not stop the other downloads
        log.exception(
            "media file not downloaded because of an unexpected error", fetch_id=str(claimed.id)
        )
        detail = f"The download failed with an internal error ({type(error).__name__})."
        return FetchError("internal_error", detail)


async def _download_and_store(
    claimed: ClaimedFetch, *, downloader: Downloader, store: MediaStore
) -> StoredFile:
    limit = LARGEST[MediaKind(claimed.kind)]
    # A small file stays in memory. A larger file, such as a long recording, is written to disk.
    with tempfile.SpooledTemporaryFile(max_size=MEGABYTE) as file:
        received = await downloader.fetch(claimed.url, limit=limit, into=file)
        content_type = require_type(received.head)
        await store.put(received.sha256, file, size_bytes=received.size_bytes)
    await failpoints.reach("media.stored")
    return StoredFile(
        sha256=received.sha256, content_type=content_type, size_bytes=received.size_bytes
    )


# The condition does not contain the status. With the status, the planner could use the partial
# index of due fetches.
FINISH = text("""
    UPDATE media_fetch
       SET status = :status, next_attempt_at = :next_attempt_at, error_code = :error_code,
           last_error = :last_error, media_id = :media_id, updated_at = :now
     WHERE id = :id AND attempts = :attempts AND media_id IS NULL
    RETURNING id
""")


async def record_fetch(
    uow: UnitOfWork,
    claimed: ClaimedFetch,
    outcome: FetchResult,
    *,
    now: datetime,
    jitter: Jitter = random_fraction,
) -> None:
    """Store the result of an attempt to download a file.

    After a final error (``FetchError.is_final``), there is no further attempt. After
    ``MOST_ATTEMPTS`` failed attempts, there is no further attempt either, and an alert is raised.
    If the next attempt has already begun, the result is not stored.

    Args:
        jitter: Returns a number from 0 to 1, by which the wait before the next attempt is
            multiplied.
    """
    error = outcome if isinstance(outcome, FetchError) else None
    media_id = None
    if isinstance(outcome, StoredFile):
        media_id = await save_media(uow.session, outcome, now=now)
    status = FetchStatus.STORED if error is None else _status_after(claimed, error)
    wait = timedelta(0)
    if status is FetchStatus.FAILED:
        wait = WAITS.wait(claimed.attempts) * jitter()
    recorded = await uow.session.execute(
        FINISH,
        {
            "id": claimed.id,
            "attempts": claimed.attempts,
            "status": status.value,
            "next_attempt_at": now + wait,
            "error_code": error and error.code,
            "last_error": error and error.detail,
            "media_id": media_id,
            "now": now,
        },
    )
    is_recorded = recorded.first() is not None
    if error is not None and status is FetchStatus.DEAD and is_recorded:
        await alerts.raise_alert(
            uow,
            kind=DEAD_FETCH,
            subject=error.code,
            detail=f"A file of the kind {claimed.kind} could not be downloaded in "
            f"{MOST_ATTEMPTS} attempts. The last error: {error.detail} "
            "List these files with GET /v1/media-fetches?status=dead. Download them again with "
            "POST /v1/media-fetches/retry.",
            context={"fetch_id": str(claimed.id), "activity_id": str(claimed.activity_id)},
            now=now,
        )


def _status_after(claimed: ClaimedFetch, error: FetchError) -> FetchStatus:
    if error.is_final:
        return FetchStatus.REFUSED
    return FetchStatus.DEAD if claimed.attempts >= MOST_ATTEMPTS else FetchStatus.FAILED


# If the file already has a row, the update changes nothing in it. The update is needed because
# `RETURNING` returns only rows that the statement inserted or updated.
SAVE_MEDIA = text("""
    INSERT INTO media AS known (id, sha256, content_type, size_bytes, created_at)
    VALUES (:id, :sha256, :content_type, :size_bytes, :now)
    ON CONFLICT (sha256) DO UPDATE SET sha256 = known.sha256
    RETURNING id
""")


async def save_media(session: AsyncSession, file: StoredFile, *, now: datetime) -> UUID:
    """Return the id of the row in ``media`` for a file's hash; add the row if it is missing."""
    found: UUID = (
        await session.execute(
            SAVE_MEDIA,
            {
                "id": new_id(),
                "sha256": file.sha256,
                "content_type": file.content_type,
                "size_bytes": file.size_bytes,
                "now": now,
            },
        )
    ).scalar_one()
    return found
