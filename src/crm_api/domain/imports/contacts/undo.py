"""Undo imports: contacts that were not changed after the import get their previous state back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.imports.contacts.models import (
    CONTACT_IMPORTS,
    ContactImport,
    ContactImportChunk,
    UndoState,
    emit_progress,
)
from crm_api.domain.imports.contacts.rows import COLUMNS
from crm_api.domain.imports.contacts.undo_request import COUNTS, made_and_used
from crm_api.domain.imports.contacts.write import flag_reason
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.runs import LEASE
from crm_api.domain.kit.zones import zone_key
from crm_api.domain.people.contacts import recipients
from crm_api.domain.people.properties import import_properties
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork, affected, typed_row
from crm_api.platform.jobs import Job, JobName

_AREA = len("+1") + 3
"""The length of the start of a phone number that has the area code."""
UNDOING = (UndoState.PENDING, UndoState.RUNNING)

_RESTORED = ", ".join(
    f"{name} = CASE WHEN x.filled ? '{name}' THEN NULL "
    f"ELSE coalesce(x.old ->> '{name}', c.{name}) END"
    for name in COLUMNS
)

_BLANK = ", ".join(f"{name} = NULL" for name in COLUMNS)


@dataclass(frozen=True)
class AppliedChunk:
    """A chunk that an import stored, and that was not undone yet.

    Attributes:
        start: The number of rows of the file before the chunk.
        applied_at: When the chunk was stored.
        changed: The number of existing contacts that the chunk changed.
    """

    start: int
    applied_at: datetime
    changed: int


async def undo_chunk(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> bool:
    """Undo one chunk of an import: the last chunk that is not undone yet.

    A contact that was edited after the chunk was stored does not change. For the other contacts:

    - A created contact is removed. If the contact was used (see ``CreatedContacts``), it is
      kept, and it stays on the list.
    - A changed contact gets its previous values back.
    - A contact that was added to a list is removed from the list.

    Flags and consent decisions are kept, because an undo must not revoke an opt-out. When all
    chunks are undone, each call undoes some of the imported properties.

    Returns:
        True if there may be more to undo; False if the undo has ended.
    """
    row = await runs.lock_import(uow.session, CONTACT_IMPORTS, import_id=import_id)
    if row is None or row.undo_state != UndoState.RUNNING:
        return False
    chunk = await find_last_chunk(uow.session, import_id=import_id)
    row.updated_at = now
    if chunk is None:
        if await import_properties.undo_some(uow, import_id=import_id):
            row.lease_until = now + LEASE
            await uow.session.flush()
            return True
        row.undo_state, row.undone_at, row.lease_until = UndoState.COMPLETED, now, None
        await uow.session.flush()
        await emit_progress(uow, row)
        return False
    counted = await _undo(uow, row, chunk, now=now)
    row.undo_counts = {name: row.undo_counts.get(name, 0) + counted[name] for name in COUNTS}
    row.lease_until = now + LEASE
    await mark_chunk_undone(uow.session, import_id=import_id, start=chunk.start, now=now)
    await uow.session.flush()
    await emit_progress(uow, row)
    await failpoints.reach("import_undo.open")
    return True


async def release_undo(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> None:
    """End this worker's reservation of an undo, so that any worker can continue the undo.

    Also request a run of the job that continues imports and undos.
    """
    row = await runs.lock_import(uow.session, CONTACT_IMPORTS, import_id=import_id)
    if row is not None and row.undo_state == UndoState.RUNNING:
        row.lease_until, row.updated_at = None, now
        await uow.session.flush()
        uow.after_commit(Job(name=JobName.RUN_IMPORTS))


async def _undo(
    uow: UnitOfWork, row: ContactImport, chunk: AppliedChunk, *, now: datetime
) -> dict[str, int]:
    session, applied_at = uow.session, chunk.applied_at
    await lock_chunk_contacts(session, import_id=row.id, start=chunk.start)
    made = await fetch_created_contacts(
        session, import_id=row.id, start=chunk.start, own_reason=flag_reason(row.id)
    )
    members = 0
    if row.list_id is not None:
        members = await remove_list_members(
            session,
            list_id=row.list_id,
            applied_at=applied_at,
            staying=made.used,
        )
    restored = await restore_contacts(
        session, import_id=row.id, start=chunk.start, applied_at=applied_at
    )
    if restored.moved_phones:
        await recipients.copy_zone_keys(uow.session, phones=restored.moved_phones, now=now)
    if made.leaving:
        await remove_contacts(session, made.leaving, phones=made.leaving_phones, now=now)
    return {
        "removed": len(made.leaving),
        "restored": restored.count,
        "memberships_removed": members,
        "left_edited": chunk.changed - restored.count + made.edited,
        "left_in_use": made.left_in_use,
    }


async def claim_undo(session: AsyncSession, *, now: datetime) -> ContactImport | None:
    """Claim (reserve for this worker) an undo; return None if no undo can be claimed.

    An undo that another worker has claimed cannot be claimed. If several undos can be claimed,
    claim the one with the oldest ``updated_at``.
    """
    waiting = (
        select(ContactImport.id)
        .where(
            ContactImport.undo_state.in_(UNDOING),
            or_(ContactImport.lease_until.is_(None), ContactImport.lease_until < now),
        )
        .order_by(ContactImport.updated_at, ContactImport.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(ContactImport)
        .where(ContactImport.id == waiting)
        .values(undo_state=UndoState.RUNNING, lease_until=now + LEASE, updated_at=now)
        .returning(ContactImport)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def find_last_chunk(session: AsyncSession, *, import_id: UUID) -> AppliedChunk | None:
    """Return the last of an import's chunks that are not undone yet; None if all are undone."""
    chunk = ContactImportChunk
    statement = (
        select(chunk.start, chunk.applied_at, func.cardinality(chunk.changed_ids).label("changed"))
        .where(chunk.import_id == import_id, chunk.undone_at.is_(None))
        .order_by(chunk.start.desc())
        .limit(1)
    )
    return typed_row(AppliedChunk, (await session.execute(statement)).one_or_none())


async def mark_chunk_undone(
    session: AsyncSession, *, import_id: UUID, start: int, now: datetime
) -> None:
    """Mark a chunk of an import as undone, and delete the changes that were stored for the undo."""
    statement = (
        update(ContactImportChunk)
        .where(ContactImportChunk.import_id == import_id, ContactImportChunk.start == start)
        .values(undone_at=now, created_ids=[], changed_ids=[], changes=[])
        .execution_options(synchronize_session=False)
    )
    await session.execute(statement)


# A transaction that edits a contact, or sends a message to it, locks the contact's row. This
# statement waits for such transactions. So the later statements of the undo see the changes of
# these transactions.
_LOCK = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM contact_import_chunk k
        JOIN contact c ON c.id = ANY (k.created_ids || k.changed_ids)
        WHERE k.import_id = :import_id AND k.start = :start
        ORDER BY c.phone FOR NO KEY UPDATE OF c
    ) mine
""")


async def lock_chunk_contacts(session: AsyncSession, *, import_id: UUID, start: int) -> None:
    """Lock the contacts that a chunk created or changed, in the order of their phone numbers."""
    await session.execute(_LOCK, {"import_id": import_id, "start": start})


_REMOVE_MEMBERS = text("""
    DELETE FROM contact_list_member m USING contact c
    WHERE m.list_id = :list_id AND m.added_at = :applied_at AND c.id = m.contact_id
      AND c.updated_at <= :applied_at AND c.id <> ALL (CAST(:staying AS uuid[]))
""")


async def remove_list_members(
    session: AsyncSession, *, list_id: UUID, applied_at: datetime, staying: Sequence[UUID]
) -> int:
    """Remove from a list the contacts that a chunk of an import added to it.

    A contact that was edited after the chunk was stored stays on the list.

    Args:
        staying: The ids of contacts that stay on the list even if they were not edited.

    Returns:
        The number of contacts that were removed from the list.
    """
    values = {"list_id": list_id, "applied_at": applied_at, "staying": list(staying)}
    removed = await session.execute(_REMOVE_MEMBERS, values)
    return affected(removed)


_RESTORE = text(f"""
    WITH x AS (
        SELECT each.id, coalesce(each.change -> 'filled', '[]') AS filled,
            coalesce(each.change -> 'old', '{{}}') AS old, each.change ->> 'zone_key' AS zone_key,
            CAST(each.change ->> 'updated_at' AS timestamptz) AS updated_at
        FROM contact_import_chunk k
        CROSS JOIN LATERAL unnest(k.changed_ids, k.changes) AS each (id, change)
        WHERE k.import_id = :import_id AND k.start = :start
    ), restored AS (
        UPDATE contact AS c SET {_RESTORED},
            tags = CASE
                WHEN x.filled ? 'tags' THEN '{{}}'
                WHEN x.old ? 'tags' THEN ARRAY(SELECT jsonb_array_elements_text(x.old -> 'tags'))
                ELSE c.tags
            END,
            attributes = (c.attributes - ARRAY(
                SELECT substr(f, 12) FROM jsonb_array_elements_text(x.filled) AS f
                WHERE starts_with(f, 'attributes.')
            )) || coalesce(x.old -> 'attributes', '{{}}'),
            zone_key = coalesce(x.zone_key, c.zone_key), updated_at = x.updated_at
        FROM x
        WHERE c.id = x.id AND c.updated_at = :applied_at AND c.deleted_at IS NULL
        RETURNING CASE WHEN x.zone_key IS NOT NULL THEN c.phone END AS moved_phone
    )
    SELECT count(*) AS count,
           coalesce(array_agg(r.moved_phone) FILTER (WHERE r.moved_phone IS NOT NULL), '{{}}')
               AS moved_phones
    FROM restored r
""")


@dataclass(frozen=True, slots=True)
class RestoredContacts:
    """The existing contacts of one chunk that got their previous values back.

    Attributes:
        count: The number of contacts.
        moved_phones: The phone numbers of the contacts whose ``zone_key`` was restored.
    """

    count: int
    moved_phones: list[str]


async def restore_contacts(
    session: AsyncSession, *, import_id: UUID, start: int, applied_at: datetime
) -> RestoredContacts:
    """Restore the values that existing contacts had before a chunk of an import changed them.

    Contacts that were edited or deleted after the chunk was stored do not change. ``updated_at`` is
    restored too. With a new ``updated_at``, the contact would look edited, and the undo of an
    earlier import would skip the contact.
    """
    values = {"import_id": import_id, "start": start, "applied_at": applied_at}
    return typed_row(RestoredContacts, (await session.execute(_RESTORE, values)).one())


@dataclass(frozen=True, slots=True)
class CreatedContacts:
    """The contacts that a chunk created and that still exist.

    A contact is *edited* if it was edited after the chunk was stored. It is *used* if it got a
    message, a call, a flag, a note, a task or a sales record after the chunk was stored. Flags that
    the import set do not count.

    Attributes:
        edited: The number of edited contacts.
        left_in_use: The number of used contacts that were not edited.
        used: The ids of the used contacts.
        leaving: The ids of the contacts that were neither edited nor used.
        leaving_phones: The phone numbers of these contacts, in the same order.
    """

    edited: int
    left_in_use: int
    used: list[UUID]
    leaving: list[UUID]
    leaving_phones: list[str]


_NEW = text(f"""
    WITH {made_and_used("k.start = :start")}, judged AS (
        SELECT m.id, m.phone, m.is_edited, m.id IN (SELECT u.id FROM used u) AS is_used FROM made m
    )
    SELECT count(*) FILTER (WHERE j.is_edited) AS edited,
           count(*) FILTER (WHERE j.is_used AND NOT j.is_edited) AS left_in_use,
           coalesce(array_agg(j.id) FILTER (WHERE j.is_used), '{{}}') AS used,
           coalesce(array_agg(j.id) FILTER (WHERE NOT (j.is_edited OR j.is_used)), '{{}}')
               AS leaving,
           coalesce(array_agg(j.phone) FILTER (WHERE NOT (j.is_edited OR j.is_used)), '{{}}')
               AS leaving_phones
    FROM judged j
""")


async def fetch_created_contacts(
    session: AsyncSession, *, import_id: UUID, start: int, own_reason: str
) -> CreatedContacts:
    """Return the contacts that one chunk (part) of an import created and that still exist.

    Args:
        own_reason: The reason text of the flags that the import itself set. A contact with only
            these flags does not count as used.
    """
    values = {"import_id": import_id, "start": start, "own_reason": own_reason}
    return typed_row(CreatedContacts, (await session.execute(_NEW, values)).one())


# The arrays are in a common table expression, so that PostgreSQL does not know how long they are.
# It then looks up each contact by its id. Otherwise, it reads all contacts for each chunk.
_REMOVE = text(f"""
    WITH given AS MATERIALIZED (
        SELECT CAST(:ids AS uuid[]) AS ids, CAST(:zone_keys AS text[]) AS zone_keys
    ), gone AS (
        DELETE FROM contact_list_member m USING given g WHERE m.contact_id = ANY (g.ids)
    )
    UPDATE contact AS c SET {_BLANK}, tags = '{{}}', attributes = '{{}}', zone_key = r.zone_key,
        updated_at = :now, deleted_at = :now
    FROM given g CROSS JOIN LATERAL unnest(g.ids, g.zone_keys) AS r (id, zone_key)
    WHERE c.id = r.id
""")


async def remove_contacts(
    session: AsyncSession, ids: Sequence[UUID], *, phones: Sequence[str], now: datetime
) -> None:
    """Delete the data of contacts, remove them from all lists, and mark them as deleted.

    Waiting campaign messages to these contacts are not sent. The recipients get the status
    ``skipped``.

    The address is deleted, so a contact's zone key (its possible states and time zones) is then
    derived from the phone number alone.

    Args:
        phones: The phone numbers of the contacts, in the order of ``ids``.
    """
    # Without an address, the zone key depends only on the area code.
    one_of_area = {phone[:_AREA]: phone for phone in phones}
    zone_keys = {
        area: zone_key(timezone=None, state=None, postal_code=None, phone=phone)
        for area, phone in one_of_area.items()
    }
    values: dict[str, Any] = {
        "ids": list(ids),
        "zone_keys": [zone_keys[phone[:_AREA]] for phone in phones],
        "now": now,
    }
    await session.execute(_REMOVE, values)
    await recipients.skip_deleted_recipients(session, phones=phones, now=now)
