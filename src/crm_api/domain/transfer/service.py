"""Imports: accepted, worked chunk by chunk, watched, cancelled."""

import csv
import io
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.paging import Page, decode_cursor, encode_cursor
from crm_api.domain.transfer import queries
from crm_api.domain.transfer.errors import ImportFinishedError, ImportNotFoundError
from crm_api.domain.transfer.formats import Detected
from crm_api.domain.transfer.merging import as_stored, merge
from crm_api.domain.transfer.models import (
    ContactImport,
    ContactImportError,
    ImportStatus,
    OnDuplicate,
)
from crm_api.domain.transfer.rows import PersonRow
from crm_api.domain.transfer.schemas import ImportOptions, unknown_list
from crm_api.domain.transfer.source import Chunk
from crm_api.domain.transfer.values import csv_safe
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

LEASE = timedelta(seconds=60)
"""How long an import stays a worker's after its last chunk; then another goes on with it."""
ERROR_COLUMNS = ("line", "column", "value", "reason")
_ERROR_BATCH = 1_000


def upload_path(data_dir: Path, import_id: UUID) -> Path:
    """Where an import's file lies until the import ends."""
    return data_dir / "imports" / f"{import_id}.csv"


async def create(
    uow: UnitOfWork,
    *,
    import_id: UUID,
    file_name: str | None,
    byte_size: int,
    detected: Detected,
    options: ImportOptions,
    now: datetime,
) -> ContactImport:
    """Accept an uploaded file; asks for ``run_imports``.

    Raises:
        ImportOptionError: ``list_id`` does not exist.
    """
    list_id = options.list_id
    if list_id is not None and not await queries.hold_list(uow.session, list_id=list_id):
        raise unknown_list()
    if options.list_name is not None and not options.dry_run:
        list_id = await queries.list_named(uow.session, name=options.list_name, now=now)
    row = await queries.insert_import(
        uow.session,
        values={
            "id": import_id,
            "status": ImportStatus.PENDING,
            "file_name": file_name,
            "byte_size": byte_size,
            "detected_format": detected.format_name,
            "mapping": detected.mapping,
            "on_duplicate": options.on_duplicate,
            "dry_run": options.dry_run,
            "list_id": list_id,
            "created_at": now,
            "updated_at": now,
        },
    )
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))
    return row


async def get(uow: UnitOfWork, *, import_id: UUID) -> ContactImport:
    """Fetch an import.

    Raises:
        ImportNotFoundError: No import has this id.
    """
    row = await queries.get(uow.session, import_id=import_id)
    if row is None:
        raise ImportNotFoundError("No import has this id.")
    return row


async def list_imports(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[ContactImport]:
    """List imports, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    after = decode_cursor(cursor) if cursor else None
    rows = await queries.list_imports(uow.session, after=after, limit=limit + 1)
    is_last = len(rows) <= limit
    rows = rows[:limit]
    return Page(rows, None if is_last else encode_cursor(rows[-1].created_at, rows[-1].id))


async def errors_as_csv(uow: UnitOfWork, *, import_id: UUID, after: int) -> tuple[str, int | None]:
    """Write the next errors as lines of CSV.

    Returns:
        The lines, and where to go on; None after the last.
    """
    found = await queries.list_errors(
        uow.session, import_id=import_id, after=after, limit=_ERROR_BATCH
    )
    return _csv_lines(found), found[-1].id if len(found) == _ERROR_BATCH else None


async def cancel(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> ContactImport:
    """Stop an import after the chunk that is being written; what is written stays.

    Raises:
        ImportNotFoundError: No import has this id.
        ImportFinishedError: It has completed or failed.
    """
    await _end(uow, import_id=import_id, status=ImportStatus.CANCELLED, now=now)
    row = await get(uow, import_id=import_id)
    if row.status != ImportStatus.CANCELLED:
        raise ImportFinishedError(f"The import has {row.status} already.", import_status=row.status)
    return row


async def claim(uow: UnitOfWork, *, now: datetime) -> ContactImport | None:
    """Take an import to work on; None when none waits."""
    return await queries.claim(uow.session, now=now, lease_until=now + LEASE)


async def keep(uow: UnitOfWork, *, import_id: UUID, rows_total: int | None, now: datetime) -> None:
    """Note how many rows there are, and stay the one who works on it."""
    values: dict[str, object] = {
        "rows_total": rows_total,
        "lease_until": now + LEASE,
        "updated_at": now,
    }
    await queries.set_open(uow.session, import_id=import_id, values=values)


async def release(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> None:
    """Let any worker go on with it at once; asks for ``run_imports``."""
    values: dict[str, object] = {"lease_until": None, "updated_at": now}
    await queries.set_open(uow.session, import_id=import_id, values=values)
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))


async def apply_chunk(uow: UnitOfWork, *, import_id: UUID, chunk: Chunk, now: datetime) -> bool:
    """Write a chunk's people, memberships, errors, counts and the checkpoint, all or nothing.

    Returns:
        False when the import has ended, or another worker has gone on with it: then stop.
    """
    row = await queries.lock(uow.session, import_id=import_id)
    if row is None or row.status != ImportStatus.RUNNING or row.rows_processed != chunk.start:
        return False
    if row.list_id is not None and not await queries.hold_list(uow.session, list_id=row.list_id):
        await fail(uow, import_id=import_id, error="The list was deleted meanwhile.", now=now)
        return False
    outcome = await _store(uow, row, chunk.people, now=now)
    if row.list_id is not None and not row.dry_run:
        await queries.add_members(
            uow.session, list_id=row.list_id, contact_ids=outcome.contact_ids, now=now
        )
    if chunk.problems:
        problems = [asdict(problem) for problem in chunk.problems]
        await queries.add_errors(uow.session, import_id=import_id, rows=problems)
    row.rows_processed = chunk.end
    row.created += outcome.created
    row.updated += outcome.updated
    row.unchanged += outcome.unchanged
    row.duplicates_in_file += chunk.duplicates
    row.invalid += chunk.invalid
    row.lease_until = now + LEASE
    row.updated_at = now
    await uow.session.flush()
    return True


async def complete(uow: UnitOfWork, *, import_id: UUID, rows: int, now: datetime) -> None:
    """Mark an import as done, unless somebody else has gone on with it."""
    row = await queries.lock(uow.session, import_id=import_id)
    if row is not None and row.status == ImportStatus.RUNNING and row.rows_processed == rows:
        row.rows_total = rows
        await uow.session.flush()
        await _end(uow, import_id=import_id, status=ImportStatus.COMPLETED, now=now)


async def fail(uow: UnitOfWork, *, import_id: UUID, error: str, now: datetime) -> None:
    """Mark an import as failed, with the sentence for the user; what is written stays."""
    await _end(uow, import_id=import_id, status=ImportStatus.FAILED, error=error, now=now)


async def _end(
    uow: UnitOfWork,
    *,
    import_id: UUID,
    status: ImportStatus,
    now: datetime,
    error: str | None = None,
) -> None:
    values: dict[str, object] = {
        "status": status,
        "error": error,
        "lease_until": None,
        "finished_at": now,
        "updated_at": now,
    }
    await queries.set_open(uow.session, import_id=import_id, values=values)


@dataclass
class _Outcome:
    """What became of a chunk's people."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    contact_ids: list[UUID] = field(default_factory=list)


async def _store(
    uow: UnitOfWork, row: ContactImport, people: list[PersonRow], *, now: datetime
) -> _Outcome:
    outcome = _Outcome()
    waiting = {person.phone: person for person in people}
    while waiting:
        known = await queries.find_contacts(
            uow.session, phones=sorted(waiting), is_locking=not row.dry_run
        )
        changed: list[dict[str, Any]] = []
        for phone, stored in known.items():
            _settle(outcome, stored, waiting.pop(phone), OnDuplicate(row.on_duplicate), changed)
        if row.dry_run:
            outcome.created += len(waiting)
            return outcome
        if changed:
            await queries.update_contacts(uow.session, rows=changed, now=now)
            phones = [row["phone"] for row in changed]
            await contacts.follow_places(uow, phones=phones, now=now)
        if not waiting:
            break
        rows = [{"id": new_id(), **as_stored(person)} for person in waiting.values()]
        made = await queries.insert_contacts(uow.session, rows=rows, now=now)
        outcome.created += len(made)
        outcome.contact_ids += made.values()
        # What is left was stored by somebody else between the two statements: now it is known.
        waiting = {phone: person for phone, person in waiting.items() if phone not in made}
    return outcome


def _settle(
    outcome: _Outcome,
    stored: dict[str, Any],
    person: PersonRow,
    on_duplicate: OnDuplicate,
    changed: list[dict[str, Any]],
) -> None:
    """Count a person whose number is known, and note what has to be written."""
    outcome.contact_ids.append(stored["id"])
    if stored["deleted_at"] is not None:
        outcome.created += 1
        changed.append(as_stored(person))
        return
    merged = merge(stored, person, on_duplicate)
    if merged is None:
        outcome.unchanged += 1
        return
    outcome.updated += 1
    changed.append(merged)


def _csv_lines(errors: list[ContactImportError]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for error in errors:
        cells = (error.column or "", error.value or "", error.reason)
        writer.writerow([error.line, *map(csv_safe, cells)])
    return buffer.getvalue()
