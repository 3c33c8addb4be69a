"""Undo an import of outcomes: reverse each outcome that it recorded."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.imports.contacts.kind import CONTACT_IMPORTS, emit_progress
from crm_api.domain.imports.contacts.models import ContactImport, ContactImportChunk, UndoState
from crm_api.domain.imports.contacts.undo import find_last_chunk, mark_chunk_undone
from crm_api.domain.imports.contacts.undo_request import COUNTS
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.runs import LEASE
from crm_api.domain.sales.outcome_imports.write import UNDO_OF
from crm_api.domain.sales.outcomes.errors import OutcomeReversedError
from crm_api.domain.sales.outcomes.record import reverse_outcome
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork


async def undo_chunk(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> bool:
    """Reverse the outcomes of the last chunk that is not undone, and update the counts of the undo.

    If an outcome was already reversed, it stays as it is and counts as ``left_edited``.

    Returns:
        True if more chunks may remain; False if the undo has ended.
    """
    row = await runs.lock_import(uow.session, CONTACT_IMPORTS, import_id=import_id)
    if row is None or row.undo_state != UndoState.RUNNING:
        return False
    chunk = await find_last_chunk(uow.session, import_id=import_id)
    row.updated_at = now
    if chunk is None:
        row.undo_state, row.undone_at, row.lease_until = UndoState.COMPLETED, now, None
        await uow.session.flush()
        await emit_progress(uow, row)
        return False
    counted = dict.fromkeys(COUNTS, 0)
    for outcome_id in sorted(await _recorded_ids(uow, import_id=import_id, start=chunk.start)):
        try:
            await reverse_outcome(
                uow, outcome_id=outcome_id, recorded_by=f"{UNDO_OF}{import_id}", now=now
            )
            counted["removed"] += 1
        except OutcomeReversedError:
            counted["left_edited"] += 1
    row.undo_counts = {name: row.undo_counts.get(name, 0) + counted[name] for name in COUNTS}
    row.lease_until = now + LEASE
    await mark_chunk_undone(uow.session, import_id=import_id, start=chunk.start, now=now)
    await uow.session.flush()
    await emit_progress(uow, row)
    await failpoints.reach("import_undo.open")
    return True


async def _recorded_ids(uow: UnitOfWork, *, import_id: UUID, start: int) -> list[UUID]:
    chunk = ContactImportChunk
    statement = select(chunk.created_ids).where(chunk.import_id == import_id, chunk.start == start)
    return (await uow.session.scalars(statement)).one()


_COUNT = text("""
    SELECT count(*) FILTER (WHERE r.id IS NULL) AS removed,
           count(*) FILTER (WHERE r.id IS NOT NULL) AS left_edited
    FROM contact_import_chunk k
    CROSS JOIN LATERAL unnest(k.created_ids) AS made (id)
    LEFT JOIN outcome r ON r.reverses_id = made.id
    WHERE k.import_id = :import_id AND k.undone_at IS NULL
""")


async def count_undo(uow: UnitOfWork, row: ContactImport) -> dict[str, int]:
    """Count the outcomes that an undo would reverse, and those that are already reversed.

    Returns:
        ``removed`` is the number of outcomes that would be reversed. ``left_edited`` is the number
        of outcomes that are already reversed. The other keys of ``COUNTS`` are 0.
    """
    found = (await uow.session.execute(_COUNT, {"import_id": row.id})).mappings().one()
    return dict.fromkeys(COUNTS, 0) | dict(found)
