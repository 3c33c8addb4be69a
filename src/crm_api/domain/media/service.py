"""Pictures, recordings and voicemail: noted, fetched, stored once, found again."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from uuid import UUID

import structlog

from crm_api import failpoints
from crm_api.db import UnitOfWork
from crm_api.domain.media import queries
from crm_api.domain.media.download import Downloader
from crm_api.domain.media.errors import (
    FetchError,
    MediaAlreadyStoredError,
    MediaFetchNotFoundError,
    MediaNotFoundError,
    MediaStoreUnavailableError,
)
from crm_api.domain.media.file_types import LARGEST, MEGABYTE, require_type
from crm_api.domain.media.models import FetchStatus, Media, MediaFetch, MediaKind
from crm_api.domain.media.queries import ClaimedFetch, ShownFetch, StoredFile, Wanted
from crm_api.domain.media.store import MediaStore
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.paging import Cursors, Page
from crm_api.jobs import Job, JobName

log = structlog.get_logger()

LEASE = timedelta(minutes=2)
"""Longer than the longest download and its way into the store."""
FIRST_WAIT = timedelta(minutes=2)
LONGEST_WAIT = timedelta(hours=12)
WAIT_GROWS = 4
TRIES = 7
"""Waits of at most 2 min, 8 min, 32 min, 2 h, 8.5 h and 12 h between them: a day at most."""
DEAD_FETCH = AlertKind.MEDIA_FETCH_DEAD
"""The alert's kind."""

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a try: a file in the store, or an error."""

    file: StoredFile | None = None
    error: FetchError | None = None


async def note(
    uow: UnitOfWork, *, activity_id: UUID, wanted: Sequence[Wanted], now: datetime
) -> None:
    """Note the addresses of a message or call; what is new to it is fetched in the background."""
    if wanted and await queries.note(uow.session, activity_id=activity_id, wanted=wanted, now=now):
        uow.after_commit(Job(name=JobName.FETCH_MEDIA))


async def claim(uow: UnitOfWork, *, limit: int, now: datetime) -> list[ClaimedFetch]:
    """Take the fetches that are due; whoever does not come back loses them to another worker."""
    return await queries.claim(uow.session, limit=limit, now=now, lease_until=now + LEASE)


async def bring(claimed: ClaimedFetch, *, downloader: Downloader, store: MediaStore) -> Outcome:
    """Fetch a file and put it into the store; touches no database.

    The object is written before anything tells of it: who dies in between leaves an object that
    the next try finds.
    """
    if claimed.attempts > TRIES:
        return Outcome(error=FetchError("gave_up", "The worker ended during each try."))
    try:
        return Outcome(file=await _bring(claimed, downloader=downloader, store=store))
    except FetchError as error:
        return Outcome(error=error)
    except MediaStoreUnavailableError as error:
        return Outcome(error=FetchError(error.code, error.detail))
    except Exception as error:  # one file's fault must not stop its neighbours
        log.exception("media fetch failed", fetch_id=str(claimed.id))
        detail = f"It failed here: {type(error).__name__}."
        return Outcome(error=FetchError("internal_error", detail))


async def _bring(claimed: ClaimedFetch, *, downloader: Downloader, store: MediaStore) -> StoredFile:
    limit = LARGEST[MediaKind(claimed.kind)]
    # A picture stays in memory, a long recording does not.
    with tempfile.SpooledTemporaryFile(max_size=MEGABYTE) as file:
        received = await downloader.fetch(claimed.url, limit=limit, into=file)
        content_type = require_type(received.head)
        await store.put(received.sha256, file, size_bytes=received.size_bytes)
    await failpoints.reach("media.stored")
    return StoredFile(
        sha256=received.sha256, content_type=content_type, size_bytes=received.size_bytes
    )


async def record(
    uow: UnitOfWork,
    claimed: ClaimedFetch,
    outcome: Outcome,
    *,
    now: datetime,
    jitter: Jitter = random_fraction,
) -> None:
    """Write down what came of a try: the file, or when to try again, or that it is over.

    Args:
        jitter: Gives numbers from 0 to 1; the whole wait is random, so that retries spread.
    """
    if outcome.file is not None:
        media_id = await queries.save_media(uow.session, outcome.file, now=now)
        await queries.finish(
            uow.session,
            claimed=claimed,
            status=FetchStatus.STORED,
            next_attempt_at=now,
            error_code=None,
            last_error=None,
            media_id=media_id,
            now=now,
        )
        return
    error = outcome.error or FetchError("internal_error", "Nothing came of it.")
    status = _status_after(claimed, error)
    wait = timedelta(0)
    if status is FetchStatus.FAILED:
        wait = min(LONGEST_WAIT, FIRST_WAIT * WAIT_GROWS ** (claimed.attempts - 1)) * jitter()
    is_recorded = await queries.finish(
        uow.session,
        claimed=claimed,
        status=status,
        next_attempt_at=now + wait,
        error_code=error.code,
        last_error=error.detail,
        media_id=None,
        now=now,
    )
    if is_recorded and status is FetchStatus.DEAD:
        await operations.raise_alert(
            uow,
            kind=DEAD_FETCH,
            subject=error.code,
            detail=f"A {claimed.kind} could not be fetched in {TRIES} tries: {error.detail} See "
            "GET /v1/media-fetches?status=dead, then POST /v1/media-fetches/retry.",
            context={"fetch_id": str(claimed.id), "activity_id": str(claimed.activity_id)},
            now=now,
        )


def _status_after(claimed: ClaimedFetch, error: FetchError) -> FetchStatus:
    if error.is_final:
        return FetchStatus.REFUSED
    return FetchStatus.DEAD if claimed.attempts >= TRIES else FetchStatus.FAILED


async def shown_of(
    uow: UnitOfWork, *, activity_ids: Sequence[UUID]
) -> dict[UUID, list[ShownFetch]]:
    """Find what is known of the media of these messages and calls, by their ids."""
    found: dict[UUID, list[ShownFetch]] = defaultdict(list)
    if activity_ids:
        for one in await queries.shown_of(uow.session, activity_ids=activity_ids):
            found[one.activity_id].append(one)
    return found


async def get_media(uow: UnitOfWork, media_id: UUID) -> Media:
    """Read a stored file's row.

    Raises:
        MediaNotFoundError: There is none.
    """
    found = await queries.get_media(uow.session, media_id)
    if found is None:
        raise MediaNotFoundError("There is no stored file with this id.")
    return found


async def list_fetches(
    uow: UnitOfWork,
    *,
    status: FetchStatus | None,
    activity_id: UUID | None,
    cursor: str | None,
    limit: int,
) -> Page[MediaFetch]:
    """List fetches, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("media_fetches", status=status, activity_id=activity_id)
    rows = await queries.list_fetches(
        uow.session,
        status=status,
        activity_id=activity_id,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def retry(uow: UnitOfWork, *, fetch_id: UUID, now: datetime) -> MediaFetch:
    """Let one fetch begin anew, whatever became of it, and nudge the worker.

    Raises:
        MediaFetchNotFoundError: There is none.
        MediaAlreadyStoredError: Its file is stored.
    """
    fetch = await queries.lock_fetch(uow.session, fetch_id)
    if fetch is None:
        raise MediaFetchNotFoundError("There is no fetch with this id.")
    if fetch.media_id is not None:
        raise MediaAlreadyStoredError(
            "The file is stored; nothing is left to fetch.", media_id=str(fetch.media_id)
        )
    dead = await queries.dead_codes(uow.session)
    await queries.retry(uow.session, fetch_id=fetch_id, now=now)
    await _end_alerts(uow, dead, now=now)
    uow.after_commit(Job(name=JobName.FETCH_MEDIA))
    await uow.session.refresh(fetch)
    return fetch


async def retry_all(
    uow: UnitOfWork, *, status: FetchStatus, error_code: str | None, now: datetime
) -> int:
    """Let all fetches of a status begin anew, and nudge the worker; returns how many.

    Stored ones are never among them.
    """
    if status is FetchStatus.STORED:
        return 0
    dead = await queries.dead_codes(uow.session)
    count = await queries.retry_all(uow.session, status=status, error_code=error_code, now=now)
    if count:
        await _end_alerts(uow, dead, now=now)
        uow.after_commit(Job(name=JobName.FETCH_MEDIA))
    return count


async def _end_alerts(uow: UnitOfWork, dead: set[str], *, now: datetime) -> None:
    """Mark the alerts as over that no dead fetch stands for any more."""
    for code in sorted(dead - await queries.dead_codes(uow.session)):
        await operations.resolve_alert(uow, kind=DEAD_FETCH, subject=code, now=now)
