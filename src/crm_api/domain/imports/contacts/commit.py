"""Commit a dry run, or run it again with corrected options."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.contacts.errors import (
    DryRunCommittedError,
    DryRunNotReadyError,
    NotADryRunError,
)
from crm_api.domain.imports.contacts.formats import Detected
from crm_api.domain.imports.contacts.models import (
    CONTACT_IMPORTS,
    ContactImport,
    ContactImportChunk,
    ContactImportError,
    ImportContent,
)
from crm_api.domain.imports.contacts.schemas import (
    ImportCorrection,
    check_list,
    check_outcome_options,
)
from crm_api.domain.imports.contacts.service import lock_target_list
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.models import OPEN, ImportStatus
from crm_api.domain.people.lists import service as lists
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

_COUNTS = (
    "rows_processed",
    "created",
    "updated",
    "unchanged",
    "duplicates_in_file",
    "invalid",
)
_COPIED = (
    "kind",
    "source",
    "file_name",
    "byte_size",
    "rows_sha256",
    "detected_format",
    "mapping",
    "columns",
    "notes",
    "on_duplicate",
    "list_name",
    "rows_total",
)
_ROWS_DELETED = (
    "The rows of this dry run were deleted, because it is too old. Upload the file again."
)


async def commit_dry_run(
    uow: UnitOfWork, *, import_id: UUID, now: datetime, actor: str | None = None
) -> ContactImport:
    """Import exactly the rows that a dry run has read, with the dry run's mapping and options.

    This function creates an import, and requests the job ``run_imports``. If an earlier call has
    already created the import of this dry run, the existing import is returned. But if the existing
    import failed, was cancelled or was undone, a new import is created.

    Raises:
        ImportNotFoundError: No import has this id.
        NotADryRunError: The import is not a dry run.
        DryRunNotReadyError: The dry run has not completed, its rows were deleted, or its import is
            being undone.
        ImportOptionError: The list of the dry run was deleted.
    """
    dry_run = await _dry_run(uow, import_id=import_id)
    if dry_run.status != ImportStatus.COMPLETED:
        raise DryRunNotReadyError(
            f"The dry run is {dry_run.status}. Only a completed dry run can be committed."
        )
    if dry_run.cleaned_at is not None:
        raise DryRunNotReadyError(_ROWS_DELETED)
    committed = await find_commit(uow.session, dry_run_id=dry_run.id)
    if committed is not None:
        if committed.undo_state is not None:
            raise DryRunNotReadyError(
                "The import made from this dry run is being undone. Wait until the undo has "
                "completed; then commit again."
            )
        return committed
    list_id = dry_run.list_id
    await lock_target_list(uow, list_id)
    if dry_run.list_name is not None:
        list_id = await lists.find_or_create_list(uow.session, name=dry_run.list_name, now=now)
    values = {
        **{name: getattr(dry_run, name) for name in _COPIED},
        "id": new_id(),
        "dry_run": False,
        "dry_run_id": dry_run.id,
        "actor": None if dry_run.kind == ImportContent.CONTACTS else actor,
        "list_id": list_id,
    }
    return await runs.accept(uow, CONTACT_IMPORTS, values=values, now=now)


async def get_correctable_dry_run(uow: UnitOfWork, *, import_id: UUID) -> ContactImport:
    """Lock and return a dry run whose options can still be changed.

    Raises:
        ImportNotFoundError: No import has this id.
        NotADryRunError: The import is not a dry run.
        DryRunNotReadyError: The dry run has not completed, or its rows were deleted.
        DryRunCommittedError: The dry run was committed. A commit does not count if its import
            failed, was cancelled or was undone.
    """
    dry_run = await _dry_run(uow, import_id=import_id)
    if dry_run.status != ImportStatus.COMPLETED:
        raise DryRunNotReadyError(
            f"The dry run is {dry_run.status}. Only a completed dry run can be corrected."
        )
    if dry_run.cleaned_at is not None:
        raise DryRunNotReadyError(_ROWS_DELETED)
    committed = await find_commit(uow.session, dry_run_id=dry_run.id)
    if committed is not None:
        raise DryRunCommittedError(
            "The dry run was committed, so it cannot be corrected. Upload the file again. "
            "To remove what the commit stored, undo the import `import_id`.",
            import_id=str(committed.id),
        )
    return dry_run


async def correct_dry_run(
    uow: UnitOfWork,
    *,
    import_id: UUID,
    body: ImportCorrection,
    detected: Detected,
    now: datetime,
) -> ContactImport:
    """Change the options of a dry run, and run it again with the same rows.

    The previous counts, errors and examples are deleted. The job ``run_imports`` is requested.

    Raises:
        ImportNotFoundError: No import has this id.
        NotADryRunError: The import is not a dry run.
        DryRunNotReadyError: The dry run has not completed, or its rows were deleted.
        DryRunCommittedError: The dry run was committed. A commit does not count if its import
            failed, was cancelled or was undone.
        ImportOptionError: The list is given both by name and by id, the list does not exist, or an
            option is not allowed for an import of outcomes.
    """
    check_list(body.list_name, body.list_id)
    row = await get_correctable_dry_run(uow, import_id=import_id)
    if row.kind == ImportContent.OUTCOMES:
        check_outcome_options(body)
    await lock_target_list(uow, body.list_id)
    if body.list_id is not None or body.list_name is not None:
        row.list_id, row.list_name = body.list_id, body.list_name
    if body.on_duplicate is not None:
        row.on_duplicate = body.on_duplicate
    row.mapping = detected.mapping
    row.columns = [asdict(column) for column in detected.columns]
    row.notes = detected.notes
    for name in _COUNTS:
        setattr(row, name, 0)
    row.status, row.updated_at = ImportStatus.PENDING, now
    row.changes, row.sample, row.repeated_lines = {}, [], []
    row.started_at, row.finished_at = None, None
    await _delete_results(uow.session, import_id=row.id)
    await uow.session.flush()
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))
    return row


async def _dry_run(uow: UnitOfWork, *, import_id: UUID) -> ContactImport:
    """Lock and return a dry run. Because of the lock, only one request at a time can commit it."""
    row = await runs.lock_import(uow.session, CONTACT_IMPORTS, import_id=import_id)
    if row is None:
        raise CONTACT_IMPORTS.not_found
    if not row.dry_run:
        raise NotADryRunError
    return row


async def _delete_results(session: AsyncSession, *, import_id: UUID) -> None:
    """Delete the errors and chunks of a dry run that starts again."""
    for table in (ContactImportError, ContactImportChunk):
        await session.execute(delete(table).where(table.import_id == import_id))


async def find_commit(session: AsyncSession, *, dry_run_id: UUID) -> ContactImport | None:
    """Return the real import that was created from a dry run; None if there is no such import.

    An import that failed, was cancelled or was undone is not returned.
    """
    statement = select(ContactImport).where(
        ContactImport.dry_run_id == dry_run_id,
        ContactImport.status.in_([*OPEN, ImportStatus.COMPLETED]),
        ContactImport.undone_at.is_(None),
    )
    return await session.scalar(statement)
