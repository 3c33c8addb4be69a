"""A chunk of an import, written or only tried: all of it or nothing."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from crm_api import failpoints
from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.contacts import service as contacts
from crm_api.domain.custom_fields import service as custom_fields
from crm_api.domain.properties import importing
from crm_api.domain.properties.schemas import ImportedProperty
from crm_api.domain.transfer import progress, queries, staging
from crm_api.domain.transfer.merge_statements import COLUMNS
from crm_api.domain.transfer.models import ContactImport, ImportStatus, OnDuplicate
from crm_api.domain.transfer.source import Chunk
from crm_api.domain.transfer.typed import typed
from crm_api.domain.zones import zone_key

LEASE = timedelta(seconds=60)
"""How long an import stays a worker's after its last chunk; then another goes on with it."""
SAMPLE_CHANGED = 18
SAMPLE_NEW = 6
_ATTRIBUTE = "attributes."


async def apply_chunk(
    uow: UnitOfWork, *, import_id: UUID, chunk: Chunk, now: datetime, secret: bytes
) -> bool:
    """Write a chunk's people, memberships, errors, counts and the checkpoint, all or nothing.

    A dry run writes all but people and memberships, and keeps what it would have done.

    Returns:
        False when the import has ended, or another worker has gone on with it: then stop.
    """
    held = await queries.lock(uow.session, import_id=import_id)
    if held is None or held.status != ImportStatus.RUNNING or held.rows_processed != chunk.start:
        return False
    if held.list_id is not None and not await queries.hold_list(uow.session, list_id=held.list_id):
        await progress.end(
            uow,
            import_id=held.id,
            status=ImportStatus.FAILED,
            error="The list was deleted meanwhile.",
            now=now,
        )
        return False
    problems = list(chunk.problems)
    if chunk.records:
        defined = await custom_fields.definitions(uow)
        records, misfits = typed(chunk.records, defined, held.mapping)
        problems += misfits
        await staging.stage(uow.session, records)
        await _take(uow, held, start=chunk.start, now=now, secret=secret)
    if chunk.houses and not held.dry_run:
        houses = [ImportedProperty.told(**asdict(house)) for house in chunk.houses]
        await importing.store(uow, houses, import_id=held.id, now=now)
    if problems:
        rows = [asdict(problem) for problem in problems]
        await queries.add_errors(uow.session, import_id=held.id, rows=rows)
    held.rows_processed = chunk.end
    held.duplicates_in_file += chunk.duplicates
    held.invalid += chunk.invalid
    held.lease_until = now + LEASE
    held.updated_at = now
    await uow.session.flush()
    await progress.tell(uow, held)
    await failpoints.reach("import.open")
    return True


async def _take(
    uow: UnitOfWork, row: ContactImport, *, start: int, now: datetime, secret: bytes
) -> None:
    """Write the staged people, or find out what would become of them; count that."""
    session = uow.session
    if row.dry_run:
        await staging.plan(session, on_duplicate=OnDuplicate(row.on_duplicate))
        await staging.keep_outcomes(session, import_id=row.id, start=start, now=now)
    else:
        await _write(uow, OnDuplicate(row.on_duplicate), now=now)
        if row.list_id is not None:
            await staging.add_members(session, list_id=row.list_id, now=now)
        if row.dry_run_id is not None:
            row.changed_since_dry_run += await staging.count_otherwise(
                session, dry_run_id=row.dry_run_id, start=start
            )
        await staging.keep_changes(session, import_id=row.id, start=start, now=now)
        await _tell_others(uow, now=now, secret=secret)
    counts = await staging.outcomes(session)
    row.created += counts.get("created", 0) + counts.get("revived", 0)
    row.updated += counts.get("updated", 0)
    row.unchanged += counts.get("unchanged", 0)
    if counts.get("updated"):
        row.changes = _added(row.changes, await staging.changed_fields(session))
    row.sample = [*row.sample, *await _sample(uow, row)]


async def _write(uow: UnitOfWork, on_duplicate: OnDuplicate, *, now: datetime) -> None:
    session = uow.session
    lost = True
    while lost:
        await staging.lock_known(session)
        await staging.plan(session, on_duplicate=on_duplicate)
        if unplaced := await staging.unplaced(session):
            await staging.place(session, {row["position"]: _zone_of(row) for row in unplaced})
        await staging.update_known(session, now=now)
        expected = (await staging.outcomes(session)).get("created", 0)
        made = await staging.insert_new(session, now=now)
        lost = made < expected and await staging.drop_lost(session) > 0


async def _tell_others(uow: UnitOfWork, *, now: datetime, secret: bytes) -> None:
    """Let other parts follow what the chunk has written.

    Here, in the chunk's transaction and after its contacts are written, is the place for whatever
    else must happen to them; ``staging.new_phones`` tells the numbers that had no contact.
    """
    if moved := await staging.moved_phones(uow.session):
        await contacts.follow_places(uow, phones=moved, now=now)
    new = await staging.new_phones(uow.session)
    await consent.suppress_erased(uow, phones=new, now=now, secret=secret)


async def _sample(uow: UnitOfWork, row: ContactImport) -> list[dict[str, Any]]:
    """Return as many examples as the import still lacks."""
    known = sum(1 for one in row.sample if one["outcome"] == "updated")
    found: list[dict[str, Any]] = []
    for is_known, lacking in (
        (True, SAMPLE_CHANGED - known),
        (False, SAMPLE_NEW - (len(row.sample) - known)),
    ):
        if lacking > 0:
            rows = await staging.sample(uow.session, is_known=is_known, limit=lacking)
            found += [_example(one, is_known=is_known) for one in rows]
    return found


def _example(row: RowMapping, *, is_known: bool) -> dict[str, Any]:
    after = {name: row[name] for name in COLUMNS if row[name] is not None}
    after |= {"tags": row["tags"]} if row["tags"] else {}
    after |= {_ATTRIBUTE + name: value for name, value in row["attributes"].items()}
    before: dict[str, Any] = dict.fromkeys(after)
    if is_known:
        old = dict(row["old"])
        attributes = old.pop("attributes", {})
        before = dict.fromkeys(row["filled"]) | old
        before |= {_ATTRIBUTE + name: value for name, value in attributes.items()}
    return {
        "line": row["line"],
        "phone": row["phone"],
        "contact_id": str(row["contact_id"]) if is_known else None,
        "outcome": "updated" if is_known else "created",
        "changes": {
            name: {"before": value, "after": after.get(name)} for name, value in before.items()
        },
    }


def _added(
    counts: dict[str, dict[str, int]], more: dict[str, dict[str, int]]
) -> dict[str, dict[str, int]]:
    names = {**counts, **more}
    none = {"filled": 0, "overwritten": 0}
    return {
        name: {kind: counts.get(name, none)[kind] + more.get(name, none)[kind] for kind in none}
        for name in names
    }


def _zone_of(row: RowMapping) -> str:
    return zone_key(
        timezone=row["timezone"],
        state=row["state"],
        postal_code=row["postal_code"],
        phone=row["phone"],
    )
