"""SQL on do-not-contact uploads, and what their numbers mean for the store."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import orjson
from sqlalchemy import CursorResult, Row, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.do_not_contact.models import (
    OPEN_UPLOADS,
    DoNotContactUpload,
    DoNotContactUploadError,
    UploadStatus,
)

# Before the flags are put: what stands, and what waits. A claimed text is one that still waits.
SURVEY = text("""
    SELECT
        (SELECT count(DISTINCT f.phone) FROM contact_flag f
         WHERE f.phone = ANY(CAST(:phones AS text[]))
           AND f.flag_type IN ('opted_out', 'do_not_contact')
           AND (f.expires_at IS NULL OR f.expires_at > CAST(:now AS timestamptz))) AS suppressed,
        (SELECT count(*) FROM contact c
         WHERE c.phone = ANY(CAST(:phones AS text[])) AND c.deleted_at IS NULL) AS contacts,
        (SELECT count(*) FROM campaign_membership m
         WHERE m.phone = ANY(CAST(:phones AS text[]))
           AND m.status IN ('pending', 'review', 'held')) AS waiting,
        (SELECT count(*) FROM send_attempt a
         WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.status = 'claimed'
           AND a.kind = 'campaign') AS claimed,
        (SELECT count(*) FROM send_attempt a
         WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.accepted_at >= :since) AS sent
""")
ADD_ERRORS = text("""
    INSERT INTO do_not_contact_upload_error (upload_id, line, "column", value, reason)
    SELECT :upload_id, r.line, r."column", r.value, r.reason
    FROM ROWS FROM (jsonb_to_recordset(CAST(:rows AS jsonb))
        AS (line integer, "column" text, value text, reason text)) WITH ORDINALITY AS r
    ORDER BY r.ordinality
""")


async def insert_upload(session: AsyncSession, *, values: dict[str, Any]) -> DoNotContactUpload:
    """Store a new upload."""
    statement = insert(DoNotContactUpload).values(values).returning(DoNotContactUpload)
    return (await session.scalars(statement)).one()


async def get(session: AsyncSession, *, upload_id: UUID) -> DoNotContactUpload | None:
    """Fetch an upload."""
    return await session.get(DoNotContactUpload, upload_id, populate_existing=True)


async def list_uploads(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[DoNotContactUpload]:
    """Fetch uploads, newest first."""
    upload = DoNotContactUpload
    statement = select(upload)
    if after is not None:
        statement = statement.where(tuple_(upload.created_at, upload.id) < after)
    statement = statement.order_by(upload.created_at.desc(), upload.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def claim(
    session: AsyncSession, *, now: datetime, lease_until: datetime
) -> DoNotContactUpload | None:
    """Take an upload that waits or whose worker is gone; None when there is none."""
    upload = DoNotContactUpload
    waiting = (
        select(upload.id)
        .where(
            upload.status.in_(OPEN_UPLOADS),
            or_(upload.lease_until.is_(None), upload.lease_until < now),
        )
        .order_by(upload.updated_at, upload.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(upload)
        .where(upload.id == waiting)
        .values(
            status=UploadStatus.RUNNING,
            lease_until=lease_until,
            started_at=func.coalesce(upload.started_at, now),
            updated_at=now,
        )
        .returning(upload)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def lock(session: AsyncSession, *, upload_id: UUID) -> DoNotContactUpload | None:
    """Fetch an upload and hold it until the transaction ends."""
    statement = select(DoNotContactUpload).where(DoNotContactUpload.id == upload_id)
    locked = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(locked)


async def set_open(session: AsyncSession, *, upload_id: UUID, values: dict[str, Any]) -> bool:
    """Change an upload that has not ended; False when it has, or does not exist."""
    statement = (
        update(DoNotContactUpload)
        .where(DoNotContactUpload.id == upload_id, DoNotContactUpload.status.in_(OPEN_UPLOADS))
        .values(values)
        .execution_options(synchronize_session=False)
    )
    result = await session.execute(statement)
    return bool(cast("CursorResult[Any]", result).rowcount)


async def survey(
    session: AsyncSession, *, phones: Sequence[str], since: datetime, now: datetime
) -> Row[Any]:
    """Count what the store has of these numbers."""
    values = {"phones": list(phones), "since": since, "now": now}
    return (await session.execute(SURVEY, values)).one()


async def add_errors(session: AsyncSession, *, upload_id: UUID, rows: list[dict[str, Any]]) -> None:
    """Store what was no number, in the order of the file."""
    values = {"upload_id": upload_id, "rows": orjson.dumps(rows).decode()}
    await session.execute(ADD_ERRORS, values)


async def list_errors(
    session: AsyncSession, *, upload_id: UUID, after: int, limit: int
) -> list[DoNotContactUploadError]:
    """Fetch errors in the order of the file, from behind this id on."""
    error = DoNotContactUploadError
    statement = select(error).where(error.upload_id == upload_id, error.id > after)
    return list(await session.scalars(statement.order_by(error.id).limit(limit)))
