"""Do-not-contact uploads: accepted, worked chunk by chunk, watched, cancelled."""

import csv
import io
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.do_not_contact import queries
from crm_api.domain.do_not_contact.errors import UploadFinishedError, UploadNotFoundError
from crm_api.domain.do_not_contact.models import (
    DoNotContactUpload,
    DoNotContactUploadError,
    UploadStatus,
)
from crm_api.domain.do_not_contact.schemas import LATELY_DAYS, UploadOptions
from crm_api.domain.do_not_contact.source import Chunk
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.transfer.values import csv_safe
from crm_api.jobs import Job, JobName

LEASE = timedelta(seconds=60)
"""How long an upload stays a worker's after its last chunk; then another goes on with it."""
ERROR_COLUMNS = ("line", "column", "value", "reason")
_ERROR_BATCH = 1_000


def upload_path(data_dir: Path, upload_id: UUID) -> Path:
    """Where an upload's file lies until it ends."""
    return data_dir / "do-not-contact" / f"{upload_id}.csv"


async def create(
    uow: UnitOfWork,
    *,
    upload_id: UUID,
    file_name: str | None,
    byte_size: int,
    columns: list[str],
    options: UploadOptions,
    actor: str,
    now: datetime,
) -> DoNotContactUpload:
    """Accept an uploaded file; asks for ``run_do_not_contact``."""
    row = await queries.insert_upload(
        uow.session,
        values={
            "id": upload_id,
            "status": UploadStatus.PENDING,
            "file_name": file_name,
            "byte_size": byte_size,
            "columns": columns,
            "reason": options.reason,
            "actor": actor,
            "dry_run": options.dry_run,
            "created_at": now,
            "updated_at": now,
        },
    )
    uow.after_commit(Job(name=JobName.RUN_DO_NOT_CONTACT))
    return row


async def get(uow: UnitOfWork, *, upload_id: UUID) -> DoNotContactUpload:
    """Fetch an upload.

    Raises:
        UploadNotFoundError: No upload has this id.
    """
    row = await queries.get(uow.session, upload_id=upload_id)
    if row is None:
        raise UploadNotFoundError("No do-not-contact upload has this id.")
    return row


async def list_uploads(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[DoNotContactUpload]:
    """List uploads, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("do_not_contact_uploads")
    after = cursors.read(cursor)
    rows = await queries.list_uploads(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def errors_as_csv(uow: UnitOfWork, *, upload_id: UUID, after: int) -> tuple[str, int | None]:
    """Write the next errors as lines of CSV.

    Returns:
        The lines, and where to go on; None after the last.
    """
    found = await queries.list_errors(
        uow.session, upload_id=upload_id, after=after, limit=_ERROR_BATCH
    )
    return _csv_lines(found), found[-1].id if len(found) == _ERROR_BATCH else None


async def cancel(uow: UnitOfWork, *, upload_id: UUID, now: datetime) -> DoNotContactUpload:
    """Stop an upload after the chunk that is being written; flags that were put stay.

    Raises:
        UploadNotFoundError: No upload has this id.
        UploadFinishedError: It has completed or failed.
    """
    await _end(uow, upload_id=upload_id, status=UploadStatus.CANCELLED, now=now)
    row = await get(uow, upload_id=upload_id)
    if row.status != UploadStatus.CANCELLED:
        raise UploadFinishedError(f"The upload has {row.status} already.", upload_status=row.status)
    return row


async def claim(uow: UnitOfWork, *, now: datetime) -> DoNotContactUpload | None:
    """Take an upload to work on; None when none waits."""
    return await queries.claim(uow.session, now=now, lease_until=now + LEASE)


async def release(uow: UnitOfWork, *, upload_id: UUID, now: datetime) -> None:
    """Let any worker go on with it at once; asks for ``run_do_not_contact``."""
    values = {"lease_until": None, "updated_at": now}
    await queries.set_open(uow.session, upload_id=upload_id, values=values)
    uow.after_commit(Job(name=JobName.RUN_DO_NOT_CONTACT))


async def apply_chunk(uow: UnitOfWork, *, upload_id: UUID, chunk: Chunk, now: datetime) -> bool:
    """Flag a chunk's numbers, withdraw what waits for them, and write the checkpoint, or none.

    Returns:
        False when the upload has ended, or another worker has gone on with it: then stop.
    """
    row = await queries.lock(uow.session, upload_id=upload_id)
    if row is None or row.status != UploadStatus.RUNNING or row.rows_processed != chunk.start:
        return False
    phones = sorted(chunk.phones)
    found = await queries.survey(
        uow.session, phones=phones, since=now - timedelta(days=LATELY_DAYS), now=now
    )
    if phones and not row.dry_run:
        await consent.put_off_limits(uow, phones=phones, reason=row.reason, now=now)
    if chunk.faults:
        faults = [asdict(fault) for fault in chunk.faults]
        await queries.add_errors(uow.session, upload_id=upload_id, rows=faults)
    row.rows_processed = chunk.end
    row.numbers_read += chunk.read
    row.invalid += len(chunk.faults)
    row.duplicates_in_file += chunk.duplicates
    row.already_suppressed += found.suppressed
    row.newly_suppressed += len(phones) - found.suppressed
    row.contacts_matched += found.contacts
    row.texts_withdrawn += found.waiting + found.claimed
    row.texts_sent_lately += found.sent
    row.lease_until = now + LEASE
    row.updated_at = now
    await uow.session.flush()
    return True


async def complete(uow: UnitOfWork, *, upload_id: UUID, rows: int, now: datetime) -> None:
    """Mark an upload as done, unless somebody else has gone on with it."""
    row = await queries.lock(uow.session, upload_id=upload_id)
    if row is not None and row.status == UploadStatus.RUNNING and row.rows_processed == rows:
        await _end(uow, upload_id=upload_id, status=UploadStatus.COMPLETED, now=now)


async def fail(uow: UnitOfWork, *, upload_id: UUID, error: str, now: datetime) -> None:
    """Mark an upload as failed, with the sentence for the user; flags that were put stay."""
    await _end(uow, upload_id=upload_id, status=UploadStatus.FAILED, error=error, now=now)


async def _end(
    uow: UnitOfWork,
    *,
    upload_id: UUID,
    status: UploadStatus,
    now: datetime,
    error: str | None = None,
) -> None:
    values: dict[str, Any] = {
        "status": status,
        "error": error,
        "lease_until": None,
        "finished_at": now,
        "updated_at": now,
    }
    await queries.set_open(uow.session, upload_id=upload_id, values=values)


def _csv_lines(errors: list[DoNotContactUploadError]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for error in errors:
        cells = (error.column or "", error.value or "", error.reason)
        writer.writerow([error.line, *map(csv_safe, cells)])
    return buffer.getvalue()
