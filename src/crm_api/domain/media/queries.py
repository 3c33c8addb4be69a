"""All SQL on media and what is to be fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.media.models import FetchStatus, Media, MediaFetch, MediaKind
from crm_api.ids import new_id

NOTE = text("""
    INSERT INTO media_fetch (id, activity_id, kind, url, next_attempt_at, created_at, updated_at)
    SELECT wanted.id, :activity_id, wanted.kind, wanted.url, :now, :now, :now
      FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:urls AS text[]))
        AS wanted (id, kind, url)
    ON CONFLICT (activity_id, md5(url)) DO NOTHING
    RETURNING id
""")

CLAIM = text("""
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

# The update changes nothing, but only so the row that another worker stored is returned.
SAVE_MEDIA = text("""
    INSERT INTO media AS known (id, sha256, content_type, size_bytes, created_at)
    VALUES (:id, :sha256, :content_type, :size_bytes, :now)
    ON CONFLICT (sha256) DO UPDATE SET sha256 = known.sha256
    RETURNING id
""")

# By id and try alone: the planner must not take the partial index of what waits.
FINISH = text("""
    UPDATE media_fetch
       SET status = :status, next_attempt_at = :next_attempt_at, error_code = :error_code,
           last_error = :last_error, media_id = :media_id, updated_at = :now
     WHERE id = :id AND attempts = :attempts AND media_id IS NULL
    RETURNING id
""")

RETRY = text("""
    UPDATE media_fetch
       SET status = 'pending', attempts = 0, next_attempt_at = :now, error_code = NULL,
           last_error = NULL, updated_at = :now
     WHERE id = :id AND media_id IS NULL
""")

RETRY_ALL = text("""
    UPDATE media_fetch
       SET status = 'pending', attempts = 0, next_attempt_at = :now, error_code = NULL,
           last_error = NULL, updated_at = :now
     WHERE status = :status
       AND (CAST(:error_code AS text) IS NULL OR error_code = :error_code)
    RETURNING id
""")

DEAD_CODES = text("SELECT DISTINCT error_code FROM media_fetch WHERE status = 'dead'")

SHOWN = text("""
    SELECT f.id, f.activity_id, f.kind, f.url, f.status, f.error_code, f.last_error, f.media_id,
           m.content_type, m.size_bytes
      FROM media_fetch f LEFT JOIN media m ON m.id = f.media_id
     WHERE f.activity_id = ANY(CAST(:activity_ids AS uuid[]))
     ORDER BY f.created_at, f.id
""")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An address that an event names."""

    kind: MediaKind
    url: str


@dataclass(frozen=True, kw_only=True)
class ClaimedFetch:
    """A fetch that this worker holds until the end of the lease.

    Attributes:
        attempts: Counted with this try.
    """

    id: UUID
    activity_id: UUID
    kind: str
    url: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class ShownFetch:
    """A fetch with what came of it, for the message or call that it belongs to."""

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


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """An object that is in the store by now."""

    sha256: str
    content_type: str
    size_bytes: int


async def note(
    session: AsyncSession, *, activity_id: UUID, wanted: Sequence[Wanted], now: datetime
) -> int:
    """Note addresses to fetch, each once for a message or call; returns how many are new."""
    found = await session.execute(
        NOTE,
        {
            "activity_id": activity_id,
            "ids": [new_id() for _ in wanted],
            "kinds": [one.kind.value for one in wanted],
            "urls": [one.url for one in wanted],
            "now": now,
        },
    )
    return len(found.all())


async def claim(
    session: AsyncSession, *, limit: int, now: datetime, lease_until: datetime
) -> list[ClaimedFetch]:
    """Take fetches that are due, the longest waiting first, until the end of the lease."""
    rows = await session.execute(CLAIM, {"limit": limit, "now": now, "lease_until": lease_until})
    return [ClaimedFetch(**row) for row in rows.mappings()]


async def save_media(session: AsyncSession, file: StoredFile, *, now: datetime) -> UUID:
    """Store a file's row once by its hash; returns its id, also when it was there before."""
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


async def finish(
    session: AsyncSession,
    *,
    claimed: ClaimedFetch,
    status: FetchStatus,
    next_attempt_at: datetime,
    error_code: str | None,
    last_error: str | None,
    media_id: UUID | None,
    now: datetime,
) -> bool:
    """Write down what came of a try; False when a later one has taken over."""
    found = await session.execute(
        FINISH,
        {
            "id": claimed.id,
            "attempts": claimed.attempts,
            "status": status.value,
            "next_attempt_at": next_attempt_at,
            "error_code": error_code,
            "last_error": last_error,
            "media_id": media_id,
            "now": now,
        },
    )
    return found.first() is not None


async def retry(session: AsyncSession, *, fetch_id: UUID, now: datetime) -> None:
    """Let a fetch begin anew, unless it is stored."""
    await session.execute(RETRY, {"id": fetch_id, "now": now})


async def retry_all(
    session: AsyncSession, *, status: FetchStatus, error_code: str | None, now: datetime
) -> int:
    """Let all of a status, and of an error when one is named, begin anew; returns how many."""
    values = {"status": status.value, "error_code": error_code, "now": now}
    return len((await session.execute(RETRY_ALL, values)).all())


async def shown_of(session: AsyncSession, *, activity_ids: Sequence[UUID]) -> list[ShownFetch]:
    """Fetch what is known of the media of these messages and calls, in the order noted."""
    rows = await session.execute(SHOWN, {"activity_ids": list(activity_ids)})
    return [ShownFetch(**row) for row in rows.mappings()]


async def get_media(session: AsyncSession, media_id: UUID) -> Media | None:
    """Fetch a stored file's row."""
    return await session.get(Media, media_id)


async def lock_fetch(session: AsyncSession, fetch_id: UUID) -> MediaFetch | None:
    """Fetch one fetch and lock its row."""
    return await session.get(MediaFetch, fetch_id, with_for_update=True)


async def dead_codes(session: AsyncSession) -> set[str]:
    """Fetch the errors of which fetches are dead."""
    return set(await session.scalars(DEAD_CODES))


async def list_fetches(
    session: AsyncSession,
    *,
    status: FetchStatus | None,
    activity_id: UUID | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[MediaFetch]:
    """Fetch a page of fetches, newest first."""
    query: Select[tuple[MediaFetch]] = select(MediaFetch)
    if status is not None:
        query = query.where(MediaFetch.status == status.value)
    if activity_id is not None:
        query = query.where(MediaFetch.activity_id == activity_id)
    if after is not None:
        query = query.where(tuple_(MediaFetch.created_at, MediaFetch.id) < after)
    query = query.order_by(MediaFetch.created_at.desc(), MediaFetch.id.desc()).limit(limit)
    return list(await session.scalars(query))
