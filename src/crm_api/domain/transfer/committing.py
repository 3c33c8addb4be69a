"""From a dry run to the import that it was tried for."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.transfer import queries
from crm_api.domain.transfer.errors import (
    DryRunCommittedError,
    DryRunNotReadyError,
    ImportNotFoundError,
    NotADryRunError,
)
from crm_api.domain.transfer.formats import Detected
from crm_api.domain.transfer.models import ContactImport, ImportStatus
from crm_api.domain.transfer.schemas import ImportCorrection, check_list, unknown_list
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

_COUNTS = (
    "rows_processed",
    "created",
    "updated",
    "unchanged",
    "duplicates_in_file",
    "invalid",
)
_TAKEN_OVER = (
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


async def commit(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> ContactImport:
    """Import exactly what a dry run has read, under its mapping and options.

    A second commit while the first is under way or stands is the first. Once that is undone, a new
    one may be made. Asks for ``run_imports``.

    Raises:
        ImportNotFoundError: No import has this id.
        NotADryRunError: It is no dry run.
        DryRunNotReadyError: It has not completed, its rows have been given up, or its commit is
            being undone.
        ImportOptionError: Its list has been deleted.
    """
    dry_run = await _dry_run(uow, import_id=import_id)
    if dry_run.status != ImportStatus.COMPLETED:
        raise DryRunNotReadyError(
            f"The dry run is {dry_run.status}; only a completed one can be committed."
        )
    if dry_run.cleaned_at is not None:
        raise DryRunNotReadyError("The dry run is too old; its rows have been given up.")
    standing = await queries.commit_of(uow.session, dry_run_id=dry_run.id)
    if standing is not None:
        if standing.undo_state is not None:
            raise DryRunNotReadyError("Its commit is being undone; wait for the end of that.")
        return standing
    list_id = dry_run.list_id
    if list_id is not None and not await queries.hold_list(uow.session, list_id=list_id):
        raise unknown_list()
    if dry_run.list_name is not None:
        list_id = await queries.list_named(uow.session, name=dry_run.list_name, now=now)
    row = await queries.insert_import(
        uow.session,
        values={
            **{name: getattr(dry_run, name) for name in _TAKEN_OVER},
            "id": new_id(),
            "status": ImportStatus.PENDING,
            "dry_run": False,
            "dry_run_id": dry_run.id,
            "list_id": list_id,
            "created_at": now,
            "updated_at": now,
        },
    )
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))
    return row


async def get_correctable(uow: UnitOfWork, *, import_id: UUID) -> ContactImport:
    """Fetch a dry run that can still be tried otherwise.

    Raises:
        ImportNotFoundError: No import has this id.
        NotADryRunError: It is no dry run.
        DryRunNotReadyError: It has not ended, or its rows have been given up.
        DryRunCommittedError: Its commit stands or is under way.
    """
    dry_run = await _dry_run(uow, import_id=import_id)
    if dry_run.status != ImportStatus.COMPLETED:
        raise DryRunNotReadyError(
            f"The dry run is {dry_run.status}; only a completed one can be corrected."
        )
    if dry_run.cleaned_at is not None:
        raise DryRunNotReadyError("The dry run is too old; its rows have been given up.")
    standing = await queries.commit_of(uow.session, dry_run_id=dry_run.id)
    if standing is not None:
        raise DryRunCommittedError(
            "The dry run has been committed; undo that first, or upload the file again.",
            import_id=str(standing.id),
        )
    return dry_run


async def correct(
    uow: UnitOfWork,
    *,
    import_id: UUID,
    body: ImportCorrection,
    detected: Detected,
    now: datetime,
) -> ContactImport:
    """Let a dry run begin anew over the same rows; asks for ``run_imports``.

    Raises:
        ImportNotFoundError: No import has this id.
        NotADryRunError: It is no dry run.
        DryRunNotReadyError: It has not ended, or its rows have been given up.
        DryRunCommittedError: Its commit stands or is under way.
        ImportOptionError: A list by name and by id, or one that does not exist.
    """
    check_list(body.list_name, body.list_id)
    row = await get_correctable(uow, import_id=import_id)
    if body.list_id is not None and not await queries.hold_list(uow.session, list_id=body.list_id):
        raise unknown_list()
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
    row.changes, row.sample, row.started_at, row.finished_at = {}, [], None, None
    await queries.forget(uow.session, import_id=row.id)
    await uow.session.flush()
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))
    return row


async def _dry_run(uow: UnitOfWork, *, import_id: UUID) -> ContactImport:
    """Fetch a dry run and hold it, so that two who commit it come one after the other."""
    row = await queries.lock(uow.session, import_id=import_id)
    if row is None:
        raise ImportNotFoundError("No import has this id.")
    if not row.dry_run:
        raise NotADryRunError("Only a dry run can be committed; this import has changed things.")
    return row
