"""Store the files that users upload, and attach these files to messages.

An attached file has a row in ``media_fetch`` with the status ``stored``, like a received file. So
erasure, retention and the API treat sent and received files in the same way.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.messaging.media.errors import (
    MediaNotSupportedError,
    MediaTypeNotSendableError,
    UnknownMediaError,
)
from crm_api.domain.messaging.media.fetching import StoredFile, save_media
from crm_api.domain.messaging.media.file_types import MEGABYTE, type_of
from crm_api.domain.messaging.models.media import Media, MediaKind
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

LARGEST_UPLOAD = 5 * MEGABYTE
"""The largest size of an uploaded file, in bytes. Carriers refuse messages with larger pictures."""
MOST_FILES = 10
"""The largest number of files that one message can have."""
SENDABLE = ("image/gif", "image/jpeg", "image/png")
"""The media types that every carrier delivers and every telephone shows."""
KEPT_FOR = timedelta(days=7)
"""How long an uploaded file can be attached to a message. After that, the file is deleted if it is
not attached to a message."""
DELETED_AT_ONCE = 200


def require_sendable_type(head: bytes) -> str:
    """Return the media type of an uploaded file, from its first bytes.

    Raises:
        MediaTypeNotSendableError: The file is not a picture of one of the types in ``SENDABLE``.
    """
    found = type_of(head)
    if found not in SENDABLE:
        raise MediaTypeNotSendableError
    return found


STORE_UPLOAD = text("""
    INSERT INTO media_upload AS known (media_id, uploaded_by_id, uploaded_at)
    VALUES (:media_id, :caller_id, :now)
    ON CONFLICT (media_id) DO UPDATE
    SET uploaded_by_id = excluded.uploaded_by_id, uploaded_at = excluded.uploaded_at
""")


async def store_upload(
    uow: UnitOfWork, file: StoredFile, *, caller_id: UUID, now: datetime
) -> UUID:
    """Record an uploaded file that is in the media store; return its id.

    The same content has the same id, however often it is uploaded.
    """
    media_id = await save_media(uow.session, file, now=now)
    values = {"media_id": media_id, "caller_id": caller_id, "now": now}
    await uow.session.execute(STORE_UPLOAD, values)
    return media_id


FIND_UPLOADS = text("""
    SELECT m.id, m.content_type FROM media_upload u JOIN media m ON m.id = u.media_id
    WHERE u.media_id = ANY(CAST(:ids AS uuid[])) AND u.uploaded_at > :since
    FOR KEY SHARE OF m, u
""")


async def describe_uploads(
    uow: UnitOfWork, media_ids: Sequence[UUID], *, is_supported: bool, now: datetime
) -> list[dict[str, Any]]:
    """Return the value of a message's column ``media`` for these files, in the order of the ids.

    The files are locked until the transaction ends, so that the clean-up does not delete them.

    Raises:
        MediaNotSupportedError: ``is_supported`` is False.
        UnknownMediaError: A file was not uploaded, or it was uploaded more than ``KEPT_FOR`` ago.
    """
    if not media_ids:
        return []
    if not is_supported:
        raise MediaNotSupportedError
    found = await uow.session.execute(
        FIND_UPLOADS, {"ids": list(media_ids), "since": now - KEPT_FOR}
    )
    types = {row.id: row.content_type for row in found}
    unknown = [index for index, one in enumerate(media_ids) if one not in types]
    if unknown:
        detail = (
            "No uploaded file has this id, or it was uploaded more than 7 days ago. Upload it "
            "again with POST /v1/media."
        )
        raise UnknownMediaError(
            detail,
            errors=[
                FieldProblem(
                    pointer=f"/media_ids/{index}", code=UnknownMediaError.code, detail=detail
                )
                for index in unknown
            ],
        )
    return [
        {"url": f"/v1/media/{one}", "type": types[one], "media_id": str(one)} for one in media_ids
    ]


ATTACH = text("""
    INSERT INTO media_fetch (id, activity_id, kind, url, status, media_id, next_attempt_at,
        created_at, updated_at)
    SELECT x.id, :activity_id, :kind, '/v1/media/' || x.media_id, 'stored', x.media_id, :now,
           :now, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:media_ids AS uuid[])) AS x (id, media_id)
""")


async def attach_files(
    uow: UnitOfWork, *, activity_id: UUID, media_ids: Sequence[UUID], now: datetime
) -> None:
    """Attach uploaded files to a message that the same transaction stores."""
    if not media_ids:
        return
    values = {
        "activity_id": activity_id,
        "kind": MediaKind.PICTURE.value,
        "ids": [new_id() for _ in media_ids],
        "media_ids": list(media_ids),
        "now": now,
    }
    await uow.session.execute(ATTACH, values)


async def read_media(uow: UnitOfWork, media_id: UUID) -> Media:
    """Return the row of the table ``media`` with this id. The row must exist."""
    return (await uow.session.scalars(select(Media).where(Media.id == media_id))).one()


# Another transaction may be attaching one of these uploaded files to a message. That transaction
# has locked the file, so the file is skipped now. A later batch can contain the file.
FORGET_UPLOADS = text("""
    DELETE FROM media_upload u
    WHERE u.media_id IN (
        SELECT o.media_id FROM media_upload o WHERE o.uploaded_at <= :before
        LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING u.media_id
""")

DELETE_UNUSED = text("""
    DELETE FROM media m
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM media_fetch f WHERE f.media_id = m.id)
    RETURNING m.sha256
""")


async def forget_old_uploads(uow: UnitOfWork, *, now: datetime) -> tuple[int, list[str]]:
    """Delete one batch of upload records that are older than ``KEPT_FOR``.

    Returns:
        The number of deleted records, and the SHA-256 hashes of files. These are the files of the
        deleted records, except files that a message or call uses. The caller must delete the files
        with these hashes from the media store after the commit.
    """
    values = {"before": now - KEPT_FOR, "limit": DELETED_AT_ONCE}
    ids = list(await uow.session.scalars(FORGET_UPLOADS, values))
    names = list(await uow.session.scalars(DELETE_UNUSED, {"ids": ids})) if ids else []
    return len(ids), names
