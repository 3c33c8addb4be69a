"""Define how contact imports differ from other imports: their tables, job, errors and event.

The event reports the progress of an import.
"""

from crm_api.domain.imports.contacts.errors import ImportFinishedError, ImportNotFoundError
from crm_api.domain.imports.contacts.models import ContactImport, ContactImportError
from crm_api.domain.imports.files.runs import ImportKind
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import JobName

_EMITTED = (
    *("status", "dry_run", "rows_total", "rows_processed"),
    *("created", "updated", "unchanged", "duplicates_in_file", "invalid"),
)


async def emit_progress(uow: UnitOfWork, row: ContactImport) -> None:
    """Record an event with the progress of an import, or with the progress of undoing it."""
    data = {name: getattr(row, name) for name in _EMITTED}
    await event_recording.record_event(
        uow, type=EventType.IMPORT_PROGRESS, subject_id=row.id, data={**data, "undo": row.undo}
    )


CONTACT_IMPORTS = ImportKind(
    table=ContactImport,
    error_table=ContactImportError,
    job=JobName.RUN_IMPORTS,
    list_name="imports",
    not_found=ImportNotFoundError,
    has_ended=ImportFinishedError,
    emit_progress=emit_progress,
)
