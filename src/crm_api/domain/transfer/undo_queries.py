"""SQL that takes back what an import did, chunk by chunk, the last first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.transfer.merge_statements import COLUMNS
from crm_api.domain.transfer.models import ContactImport, ContactImportChunk, UndoState
from crm_api.domain.transfer.queries import UNDOING

_RESTORED = ", ".join(
    f"{name} = CASE WHEN x.filled ? '{name}' THEN NULL "
    f"ELSE coalesce(x.old ->> '{name}', c.{name}) END"
    for name in COLUMNS
)
_BLANK = ", ".join(f"{name} = NULL" for name in COLUMNS)

# Whoever sends to a number or edits a contact holds this row, so that the statements after this
# one see what they did.
_LOCK = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM contact_import_chunk k
        JOIN contact c ON c.id = ANY (k.created_ids || k.changed_ids)
        WHERE k.import_id = :import_id AND k.start = :start
        ORDER BY c.phone FOR NO KEY UPDATE OF c
    ) mine
""")
_REMOVE_MEMBERS = text("""
    DELETE FROM contact_list_member m USING contact c
    WHERE m.list_id = :list_id AND m.added_at = :applied_at AND c.id = m.contact_id
      AND c.updated_at <= :applied_at AND c.id <> ALL (CAST(:staying AS uuid[]))
""")
_RESTORE = text(f"""
    WITH x AS (
        SELECT each.id, coalesce(each.change -> 'filled', '[]') AS filled,
            coalesce(each.change -> 'old', '{{}}') AS old, each.change ->> 'zone_key' AS zone_key,
            CAST(each.change ->> 'updated_at' AS timestamptz) AS updated_at
        FROM contact_import_chunk k
        CROSS JOIN LATERAL unnest(k.changed_ids, k.changes) AS each (id, change)
        WHERE k.import_id = :import_id AND k.start = :start
    )
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
    RETURNING CASE WHEN x.zone_key IS NOT NULL THEN c.phone END
""")  # noqa: S608 - made of the package's own words

_NEW = text("""
    SELECT c.id, c.phone, c.updated_at <> :applied_at AS is_edited,
        EXISTS (SELECT 1 FROM activity a
            WHERE a.contact_id = c.id AND a.created_at >= :applied_at)
        OR EXISTS (SELECT 1 FROM send_attempt s
            WHERE s.phone = c.phone AND s.created_at >= :applied_at)
        OR EXISTS (SELECT 1 FROM contact_flag f
            WHERE f.phone = c.phone AND f.created_at >= :applied_at)
        OR EXISTS (SELECT 1 FROM contact_note n
            WHERE n.contact_id = c.id AND n.created_at >= :applied_at) AS is_used
    FROM contact_import_chunk k
    CROSS JOIN LATERAL unnest(k.created_ids) AS made (id)
    JOIN contact c ON c.id = made.id AND c.deleted_at IS NULL
    WHERE k.import_id = :import_id AND k.start = :start
""")
_REMOVE = text(f"""
    WITH gone AS (
        DELETE FROM contact_list_member WHERE contact_id = ANY (CAST(:ids AS uuid[]))
    ), waiting AS (
        UPDATE campaign_membership
        SET status = 'skipped', skip_reason = 'contact_deleted', updated_at = :now
        WHERE phone IN (SELECT phone FROM contact WHERE id = ANY (CAST(:ids AS uuid[])))
          AND status IN ('pending', 'review', 'held')
    )
    UPDATE contact AS c SET {_BLANK}, tags = '{{}}', attributes = '{{}}', zone_key = r.zone_key,
        updated_at = :now, deleted_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:zone_keys AS text[])) AS r (id, zone_key)
    WHERE c.id = r.id
""")  # noqa: S608 - as above


@dataclass(frozen=True)
class Written:
    """A chunk that stands: where it starts, when it was written, how many contacts it changed."""

    start: int
    applied_at: datetime
    changed: int


async def claim(
    session: AsyncSession, *, now: datetime, lease_until: datetime
) -> ContactImport | None:
    """Take an import to undo, the one worked on longest ago first; None when there is none."""
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
        .values(undo_state=UndoState.RUNNING, lease_until=lease_until, updated_at=now)
        .returning(ContactImport)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def last_chunk(session: AsyncSession, *, import_id: UUID) -> Written | None:
    """Find the last chunk that still stands."""
    chunk = ContactImportChunk
    statement = (
        select(chunk.start, chunk.applied_at, func.cardinality(chunk.changed_ids))
        .where(chunk.import_id == import_id, chunk.undone_at.is_(None))
        .order_by(chunk.start.desc())
        .limit(1)
    )
    found = (await session.execute(statement)).one_or_none()
    return None if found is None else Written(*found)


async def mark_undone(session: AsyncSession, *, import_id: UUID, start: int, now: datetime) -> None:
    """Note that a chunk stands no more, and forget what it held."""
    statement = (
        update(ContactImportChunk)
        .where(ContactImportChunk.import_id == import_id, ContactImportChunk.start == start)
        .values(undone_at=now, created_ids=[], changed_ids=[], changes=[])
        .execution_options(synchronize_session=False)
    )
    await session.execute(statement)


async def lock_contacts(session: AsyncSession, *, import_id: UUID, start: int) -> None:
    """Lock the contacts that a chunk wrote, in the order of their numbers."""
    await session.execute(_LOCK, {"import_id": import_id, "start": start})


async def remove_members(
    session: AsyncSession, *, list_id: UUID, applied_at: datetime, staying: Sequence[UUID]
) -> int:
    """Take those off the list whom a chunk has put on it, but not who was edited since.

    Args:
        staying: Contacts that stay for another reason.
    """
    values = {"list_id": list_id, "applied_at": applied_at, "staying": list(staying)}
    removed = await session.execute(_REMOVE_MEMBERS, values)
    return int(getattr(removed, "rowcount", 0))


async def restore(
    session: AsyncSession, *, import_id: UUID, start: int, applied_at: datetime
) -> list[str | None]:
    """Give contacts that nobody edited since what they had before, their time of change too.

    So an import before this one finds them as it left them, and can be undone after it.

    Returns:
        One for each: the number where the place changed, else None.
    """
    values = {"import_id": import_id, "start": start, "applied_at": applied_at}
    return list(await session.scalars(_RESTORE, values))


async def new_contacts(
    session: AsyncSession, *, import_id: UUID, start: int, applied_at: datetime
) -> Sequence[Row[tuple[UUID, str, bool, bool]]]:
    """Fetch the contacts that a chunk made and that are there.

    Returns:
        Id, number, whether it was edited since, and whether a text, a call or a flag came since.
    """
    values = {"import_id": import_id, "start": start, "applied_at": applied_at}
    return (await session.execute(_NEW, values)).all()


async def remove(session: AsyncSession, *, zone_keys: dict[UUID, str], now: datetime) -> None:
    """Blank these contacts and mark them as deleted; what waits for them is skipped."""
    values: dict[str, Any] = {"ids": list(zone_keys), "zone_keys": list(zone_keys.values())}
    await session.execute(_REMOVE, values | {"now": now})
