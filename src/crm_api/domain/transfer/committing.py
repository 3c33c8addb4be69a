"""From a dry run to the import that it was tried for."""

from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.transfer import queries
from crm_api.domain.transfer.errors import (
    DryRunNotReadyError,
    ImportNotFoundError,
    NotADryRunError,
)
from crm_api.domain.transfer.models import ContactImport, ImportStatus
from crm_api.domain.transfer.schemas import unknown_list
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

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


async def _dry_run(uow: UnitOfWork, *, import_id: UUID) -> ContactImport:
    """Fetch a dry run and hold it, so that two who commit it come one after the other."""
    row = await queries.lock(uow.session, import_id=import_id)
    if row is None:
        raise ImportNotFoundError("No import has this id.")
    if not row.dry_run:
        raise NotADryRunError("Only a dry run can be committed; this import has changed things.")
    return row
