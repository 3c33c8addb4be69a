"""Store contact imports, find their files, and delete the stored data of old imports."""

import contextlib
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.imports.contacts.formats import Detected
from crm_api.domain.imports.contacts.models import (
    CONTACT_IMPORTS,
    ContactImport,
    ImportContent,
    ImportSourceKind,
)
from crm_api.domain.imports.contacts.schemas import ImportOptions, unknown_list
from crm_api.domain.imports.contacts.undo_request import KEPT_FOR
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.imports.files.runs import LEASE
from crm_api.domain.people.lists import service as lists
from crm_api.platform.database import UnitOfWork, affected
from crm_api.platform.ids import new_id

_CLEANED_AT_ONCE = 100


def uploads_folder(data_dir: Path) -> Path:
    """Return the folder with the files of contact imports."""
    return data_dir / "imports"


def upload_path(
    data_dir: Path, import_id: UUID, kind: ImportContent = ImportContent.CONTACTS
) -> Path:
    """Return the path at which the uploaded file of an import is stored.

    The file name is ``<id>.csv`` for contacts, and ``<id>.outcomes.csv`` for outcomes.

    Exception: An import that was created from a dry run uses the file of the dry run.
    ``rows_path`` returns the right path in all cases.
    """
    ending = ".csv" if kind == ImportContent.CONTACTS else f".{kind}.csv"
    return uploads_folder(data_dir) / f"{import_id}{ending}"


def rows_path(data_dir: Path, row: ContactImport) -> Path:
    """Return the path of the file from which this import reads its rows."""
    return upload_path(data_dir, row.dry_run_id or row.id, ImportContent(row.kind))


def discard_old_uploads(folder: Path, *, wall_now: datetime) -> None:
    """Delete the files of dry runs that are too old to be committed.

    Args:
        wall_now: The time of the machine's clock. Do not pass the time of the sandbox clock, which
            users can move forward for tests. The times of the files come from the machine's clock,
            so all files could then seem too old.
    """
    oldest = (wall_now - KEPT_FOR).timestamp()
    for path in folder.glob("*.csv"):
        # Another worker may have deleted the file in the meantime.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


async def create_import(
    uow: UnitOfWork,
    *,
    import_id: UUID,
    file_name: str | None,
    byte_size: int,
    rows_sha256: str,
    detected: Detected,
    options: ImportOptions,
    now: datetime,
    actor: str | None = None,
) -> ContactImport:
    """Store an import of an uploaded file as pending, and request the job ``run_imports``.

    Args:
        actor: The user or API key that is stored as the author of imported outcomes (such as
            appointments). None for an import of contacts.

    Raises:
        ImportOptionError: No list has the id ``options.list_id``.
    """
    rows = {
        "id": import_id,
        "file_name": file_name,
        "byte_size": byte_size,
        "rows_sha256": rows_sha256,
        "kind": options.kind,
        "actor": actor,
        **as_columns(detected),
    }
    return await _accept(uow, rows, options, now=now)


async def create_provider_import(
    uow: UnitOfWork, options: ImportOptions, *, now: datetime
) -> ContactImport:
    """Store an import of the provider's contacts as pending, and request the job ``run_imports``.

    The job fetches the contacts into a CSV file. Then it maps the columns of the file to contact
    fields.

    Raises:
        ImportOptionError: No list has the id ``options.list_id``.
    """
    rows: dict[str, object] = {
        "id": new_id(),
        "source": ImportSourceKind.OPENPHONE,
        "byte_size": 0,
        "fetched_bytes": 0,
        "mapping": options.mapping or {},
    }
    return await _accept(uow, rows, options, now=now)


async def _accept(
    uow: UnitOfWork, rows: dict[str, object], options: ImportOptions, *, now: datetime
) -> ContactImport:
    list_id = await _list_of(uow, options, now=now)
    values = {
        **rows,
        "on_duplicate": options.on_duplicate,
        "dry_run": options.dry_run,
        "list_id": list_id,
        "list_name": options.list_name,
    }
    return await runs.accept(uow, CONTACT_IMPORTS, values=values, now=now)


def as_columns(detected: Detected) -> dict[str, object]:
    """Convert what was detected in a file to values for the table ``contact_import``.

    Returns:
        The values, by the name of the column in ``contact_import``.
    """
    return {
        "detected_format": detected.format_name,
        "mapping": detected.mapping,
        "columns": [asdict(column) for column in detected.columns],
        "notes": detected.notes,
    }


async def _list_of(uow: UnitOfWork, options: ImportOptions, *, now: datetime) -> UUID | None:
    """Return the id of the list that the imported contacts join; create the list if needed.

    A dry run creates no list.
    """
    list_id = options.list_id
    await lock_target_list(uow, list_id)
    if options.list_name is not None and not options.dry_run:
        return await lists.find_or_create_list(uow.session, name=options.list_name, now=now)
    return list_id


async def lock_target_list(uow: UnitOfWork, list_id: UUID | None) -> None:
    """Prevent the deletion of the list that imported contacts join, until the transaction ends.

    Do nothing if ``list_id`` is None.

    Raises:
        ImportOptionError: No list has this id.
    """
    if list_id is not None and not await lists.lock_list(uow.session, list_id=list_id):
        raise unknown_list()


async def needs_rows(uow: UnitOfWork, *, import_id: UUID) -> bool:
    """Return whether the file of an import is still needed.

    The file of a dry run is also needed after the dry run has completed, because an import that
    commits the dry run reads this file.

    Raises:
        ImportNotFoundError: No import has this id.
    """
    row = await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id)
    can_be_committed = row.dry_run and row.status == ImportStatus.COMPLETED
    return row.finished_at is None or can_be_committed or row.dry_run_id is not None


async def store_row_count(
    uow: UnitOfWork, *, import_id: UUID, rows_total: int | None, now: datetime
) -> None:
    """Store the number of rows of an import, and extend the worker's reservation of the import."""
    values: dict[str, object] = {
        "rows_total": rows_total,
        "lease_until": now + LEASE,
        "updated_at": now,
    }
    await runs.update_open(uow.session, CONTACT_IMPORTS, import_id=import_id, values=values)


async def postpone_import(
    uow: UnitOfWork, *, import_id: UUID, until: datetime, why: str, now: datetime
) -> None:
    """Prevent workers from claiming an import before ``until``; store ``why`` as its error."""
    values: dict[str, object] = {"lease_until": until, "error": why, "updated_at": now}
    await runs.update_open(uow.session, CONTACT_IMPORTS, import_id=import_id, values=values)


_DELETE_KEPT_ROWS = text("""
    WITH old AS (
        SELECT id FROM contact_import
        WHERE finished_at < :ended_before AND cleaned_at IS NULL
          AND (undo_state IS NULL OR undo_state = 'completed')
        ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM contact_import_chunk WHERE import_id IN (SELECT id FROM old)
    )
    UPDATE contact_import SET sample = '[]', columns = '[]', cleaned_at = :now
    WHERE id IN (SELECT id FROM old)
""")


async def clean_up_imports(uow: UnitOfWork, *, now: datetime) -> int:
    """Delete stored data of imports that are too old to be undone or committed.

    The changes of each chunk, the examples and the list of columns are deleted. The counts stay.

    Returns:
        The number of imports whose data was deleted, at most 100. Repeat the call until it returns
        0.
    """
    values = {"ended_before": now - KEPT_FOR, "limit": _CLEANED_AT_ONCE, "now": now}
    done = await uow.session.execute(_DELETE_KEPT_ROWS, values)
    return affected(done)
