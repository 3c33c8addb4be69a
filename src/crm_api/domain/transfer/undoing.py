"""Imports taken back: what nobody has touched since returns to what it was."""

from datetime import datetime, timedelta
from uuid import UUID

from crm_api import failpoints
from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.properties import importing
from crm_api.domain.transfer import progress, queries, undo_queries
from crm_api.domain.transfer.errors import ImportNotFoundError, NotUndoableError
from crm_api.domain.transfer.models import ContactImport, UndoState
from crm_api.domain.transfer.undo_queries import Written
from crm_api.domain.transfer.writing import LEASE
from crm_api.domain.zones import zone_key
from crm_api.jobs import Job, JobName

KEPT_FOR = timedelta(days=30)
"""So long an import can be undone and a dry run committed; then what that needs is given up."""
COUNTS = ("removed", "restored", "memberships_removed", "left_edited", "left_in_use")


async def ask(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> ContactImport:
    """Ask for an import to be undone in the background; asks for ``run_imports``.

    Asking again changes nothing.

    Raises:
        ImportNotFoundError: No import has this id.
        NotUndoableError: It is a dry run, has not ended, or what undoing needs has been given up.
    """
    row = await queries.lock(uow.session, import_id=import_id)
    if row is None:
        raise ImportNotFoundError("No import has this id.")
    if row.undo_state is not None:
        return row
    if row.dry_run:
        raise NotUndoableError("A dry run has changed nothing, so there is nothing to undo.")
    if row.finished_at is None:
        raise NotUndoableError("The import has not ended; cancel it first.")
    if row.cleaned_at is not None:
        raise NotUndoableError(f"An import can be undone for {KEPT_FOR.days} days after its end.")
    row.undo_state = UndoState.PENDING
    row.undo_counts = dict.fromkeys(COUNTS, 0)
    row.lease_until = None
    row.updated_at = now
    await uow.session.flush()
    uow.after_commit(Job(name=JobName.RUN_IMPORTS))
    return row


async def claim(uow: UnitOfWork, *, now: datetime) -> ContactImport | None:
    """Take an import to undo; None when none waits."""
    return await undo_queries.claim(uow.session, now=now, lease_until=now + LEASE)


async def undo_chunk(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> bool:
    """Take back the last chunk that stands, and count what was; the counts are its checkpoint.

    A contact that the import made goes, unless it was edited or had a text, a call or a flag since;
    one that it changed gets back what it had, unless it was edited since. Who does not stay leaves
    the import's list. Flags and consent stand.

    Returns:
        False when the undo has ended.
    """
    row = await queries.lock(uow.session, import_id=import_id)
    if row is None or row.undo_state != UndoState.RUNNING:
        return False
    chunk = await undo_queries.last_chunk(uow.session, import_id=import_id)
    row.updated_at = now
    if chunk is None:
        if await importing.undo_some(uow, import_id=import_id):
            row.lease_until = now + LEASE
            await uow.session.flush()
            return True
        row.undo_state, row.undone_at, row.lease_until = UndoState.COMPLETED, now, None
        await uow.session.flush()
        await progress.tell(uow, row)
        return False
    counted = await _undo(uow, row, chunk, now=now)
    row.undo_counts = {name: row.undo_counts.get(name, 0) + counted[name] for name in COUNTS}
    row.lease_until = now + LEASE
    await undo_queries.mark_undone(uow.session, import_id=import_id, start=chunk.start, now=now)
    await uow.session.flush()
    await progress.tell(uow, row)
    await failpoints.reach("import_undo.open")
    return True


async def release(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> None:
    """Let any worker go on with it at once; asks for ``run_imports``."""
    row = await queries.lock(uow.session, import_id=import_id)
    if row is not None and row.undo_state == UndoState.RUNNING:
        row.lease_until, row.updated_at = None, now
        await uow.session.flush()
        uow.after_commit(Job(name=JobName.RUN_IMPORTS))


async def _undo(
    uow: UnitOfWork, row: ContactImport, chunk: Written, *, now: datetime
) -> dict[str, int]:
    session, applied_at = uow.session, chunk.applied_at
    await undo_queries.lock_contacts(session, import_id=row.id, start=chunk.start)
    made = await undo_queries.new_contacts(
        session, import_id=row.id, start=chunk.start, applied_at=applied_at
    )
    members = 0
    if row.list_id is not None:
        members = await undo_queries.remove_members(
            session,
            list_id=row.list_id,
            applied_at=applied_at,
            staying=[one.id for one in made if one.is_used],
        )
    restored = await undo_queries.restore(
        session, import_id=row.id, start=chunk.start, applied_at=applied_at
    )
    if moved := [phone for phone in restored if phone is not None]:
        await contacts.follow_places(uow, phones=moved, now=now)
    places = {
        one.id: zone_key(timezone=None, state=None, postal_code=None, phone=one.phone)
        for one in made
        if not (one.is_edited or one.is_used)
    }
    if places:
        await undo_queries.remove(session, zone_keys=places, now=now)
    edited = sum(1 for one in made if one.is_edited)
    return {
        "removed": len(places),
        "restored": len(restored),
        "memberships_removed": members,
        "left_edited": chunk.changed - len(restored) + edited,
        "left_in_use": len(made) - edited - len(places),
    }
