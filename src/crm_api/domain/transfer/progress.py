"""How far an import is, told to whoever follows; and its end."""

from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.events import service as events
from crm_api.domain.events.schemas import EventType
from crm_api.domain.transfer import queries
from crm_api.domain.transfer.models import ContactImport, ImportStatus

_TOLD = (
    *("status", "dry_run", "rows_total", "rows_processed"),
    *("created", "updated", "unchanged", "duplicates_in_file", "invalid"),
)


async def tell(uow: UnitOfWork, row: ContactImport) -> None:
    """Record where an import or its undo stands, as an event of this transaction."""
    data = {name: getattr(row, name) for name in _TOLD}
    await events.record(
        uow, type=EventType.IMPORT_PROGRESS, subject_id=row.id, data={**data, "undo": row.undo}
    )


async def end(
    uow: UnitOfWork,
    *,
    import_id: UUID,
    status: ImportStatus,
    now: datetime,
    error: str | None = None,
) -> None:
    """Let an open import end so; one that has ended stays as it is."""
    has_ended = await queries.end(
        uow.session, import_id=import_id, status=status, error=error, now=now
    )
    row = await queries.get(uow.session, import_id=import_id) if has_ended else None
    if row is not None:
        await tell(uow, row)
