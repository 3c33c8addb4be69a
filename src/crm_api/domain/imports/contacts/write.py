"""Store one chunk of a contact import in one transaction. A dry run only plans the chunk.

PostgreSQL first collects new words for a GIN index in a list (the pending list). An import raises
the size limit of this list. A second connection empties the list while the next chunk is stored.
The higher limit and the second connection save a sixth of the database's CPU time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import ConsentAction
from crm_api.domain.imports.contacts import merge_plan, staging
from crm_api.domain.imports.contacts.formats import ATTRIBUTES, SECOND
from crm_api.domain.imports.contacts.models import (
    CONTACT_IMPORTS,
    ContactImport,
    OnDuplicate,
    emit_progress,
)
from crm_api.domain.imports.contacts.opt_outs import CONSENT
from crm_api.domain.imports.contacts.rows import COLUMNS, MAX_SHOWN, PERSON, Record, RowProblem
from crm_api.domain.imports.contacts.source import MAX_REPEATS, ContactChunk
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.models import ImportStatus
from crm_api.domain.imports.files.runs import LEASE
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.messaging.consent_decisions import listed_numbers
from crm_api.domain.messaging.consent_decisions.erased_numbers import suppress_erased
from crm_api.domain.messaging.consent_decisions.listed_numbers import ListedNumber
from crm_api.domain.people.contacts import recipients
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.custom_fields.attribute_checks import Definitions
from crm_api.domain.people.lists import service as lists
from crm_api.domain.people.properties import import_properties
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork

MANY_PEOPLE = 1_000
"""The minimum number of people in a chunk for which another connection empties the pending list of
the search indexes (new words that are not in the index yet)."""
ANALYZE_FROM = 10_000
"""The minimum number of changed contacts after which the statistics of the tables are refreshed. A
refresh takes about a second."""

LEAVE_PENDING = text("SELECT set_config('gin_pending_list_limit', '32768', TRUE)")


async def leave_search_pending(session: AsyncSession) -> None:
    """Delay the update of the search indexes until after this transaction.

    New words wait in a list of up to 32 MB (the pending list). After the commit, the caller should
    move the words into the indexes with ``clean_search``. If the caller does not, the automatic
    VACUUM or a future change of a contact moves the words.
    """
    await session.execute(LEAVE_PENDING)


CLEAN_SEARCH = text("SELECT clean_contact_search()")


async def clean_search(session: AsyncSession) -> None:
    """Add new words of contacts to the search index and the tag index.

    PostgreSQL first collects new words in a list for each index (the pending list). This function
    empties these lists. Contacts can be changed while it runs.
    """
    await session.execute(CLEAN_SEARCH)


ANALYZE = text("SELECT analyze_contacts()")


async def refresh_statistics(session: AsyncSession) -> None:
    """Refresh PostgreSQL's statistics of the tables of contacts and list members.

    A table is skipped if it is locked, for example by a VACUUM.
    """
    await session.execute(ANALYZE)


_LINE, _VALUES = PERSON.index("line"), PERSON.index("attributes")


def _column(name: str, mapping: Mapping[str, str | None]) -> str | None:
    wanted = {f"{ATTRIBUTES}{name}", f"{SECOND}{ATTRIBUTES}{name}"}
    return next((column for column, target in mapping.items() if target in wanted), None)


SAMPLE_CHANGED = 18
SAMPLE_NEW = 6
_ATTRIBUTE = "attributes."


def flag_reason(import_id: UUID) -> str:
    """Return the reason that is stored with the flags that an import sets."""
    return f"import {import_id}"


async def apply_chunk(
    uow: UnitOfWork, *, import_id: UUID, chunk: ContactChunk, now: datetime, secret: bytes
) -> bool:
    """Store the people, list memberships, errors, counts and checkpoint of a chunk.

    A dry run stores no people and no memberships. It stores digests of the planned results.

    Returns:
        False if the import has ended, or if another worker has taken over the import. The caller
        then stops.
    """
    held = await runs.lock_running(
        uow.session, CONTACT_IMPORTS, import_id=import_id, rows_processed=chunk.start
    )
    if held is None:
        return False
    if held.list_id is not None and not await lists.lock_list(uow.session, list_id=held.list_id):
        await runs.end_import(
            uow,
            CONTACT_IMPORTS,
            import_id=held.id,
            status=ImportStatus.FAILED,
            error="The list was deleted while the import ran. Start an import into another list.",
            now=now,
        )
        return False
    problems = list(chunk.problems)
    if chunk.records:
        defined = await custom_fields.definitions(uow)
        records, misfits = convert_attributes(chunk.records, defined, held.mapping)
        problems += misfits
        await merge_plan.stage_people(uow.session, records)
        await _store_people(uow, held, chunk, now=now, secret=secret)
    elif chunk.opt_outs:
        await _stop_messages(uow, held, chunk, now=now, secret=secret)
    if chunk.properties and not held.dry_run:
        await import_properties.store_properties(uow, chunk.properties, import_id=held.id, now=now)
    if problems:
        errors = [asdict(problem) for problem in problems]
        await runs.add_errors(uow.session, CONTACT_IMPORTS, import_id=held.id, errors=errors)
    held.rows_processed = chunk.end
    held.duplicates_in_file += chunk.duplicates
    if chunk.repeats:
        named = [{"line": line, "first_line": first} for line, first in chunk.repeats]
        held.repeated_lines = [*held.repeated_lines, *named][:MAX_REPEATS]
    held.invalid += chunk.invalid
    held.lease_until = now + LEASE
    held.updated_at = now
    await uow.session.flush()
    await emit_progress(uow, held)
    await failpoints.reach("import.open")
    return True


async def _store_people(
    uow: UnitOfWork, row: ContactImport, chunk: ContactChunk, *, now: datetime, secret: bytes
) -> None:
    """Store the people of the chunk, and update the counts of the import.

    The people are in the temporary table ``import_person``. A dry run stores no people: it only
    decides what an import would do with them.
    """
    session, start = uow.session, chunk.start
    if row.dry_run:
        await merge_plan.plan_merge(session, on_duplicate=OnDuplicate(row.on_duplicate))
        await staging.store_outcomes(session, import_id=row.id, start=start, now=now)
        await _stop_messages(uow, row, chunk, now=now, secret=secret)
    else:
        if len(chunk.records) >= MANY_PEOPLE:
            await leave_search_pending(session)
        await _merge_people(uow, OnDuplicate(row.on_duplicate), now=now)
        if row.list_id is not None:
            await staging.add_list_members(session, list_id=row.list_id, now=now)
        if row.dry_run_id is not None:
            row.changed_since_dry_run += await staging.count_different_outcomes(
                session, dry_run_id=row.dry_run_id, start=start
            )
        await staging.store_changes(session, import_id=row.id, start=start, now=now)
        await _stop_messages(uow, row, chunk, now=now, secret=secret)
        await _apply_follow_ups(uow, now=now, secret=secret)
    counts = await staging.count_outcomes(session)
    row.created += counts.get("created", 0) + counts.get("revived", 0)
    row.updated += counts.get("updated", 0)
    row.unchanged += counts.get("unchanged", 0)
    if counts.get("updated"):
        row.changes = _added(row.changes, await staging.count_changed_fields(session))
    row.sample = [*row.sample, *await _sample(uow, row)]


async def _merge_people(uow: UnitOfWork, on_duplicate: OnDuplicate, *, now: datetime) -> None:
    session = uow.session
    lost = True
    while lost:
        await staging.lock_known_contacts(session)
        await merge_plan.plan_merge(session, on_duplicate=on_duplicate)
        if unplaced := await staging.fetch_people_without_zone(session):
            await staging.set_zone_keys(
                session, {person.position: zone_key_of(asdict(person)) for person in unplaced}
            )
        await staging.update_known_contacts(session, now=now)
        expected = (await staging.count_outcomes(session)).get("created", 0)
        made = await staging.insert_new_contacts(session, now=now)
        lost = made < expected and await staging.drop_lost_people(session) > 0


async def _stop_messages(
    uow: UnitOfWork, row: ContactImport, chunk: ContactChunk, *, now: datetime, secret: bytes
) -> None:
    """Set flags that stop messages, if cells of a chunk say so; a dry run only counts the flags.

    The flags are the opt-out, the hold and ``do_not_contact``. Each flag is set on all phone
    numbers of the person whom the cell is about. This function locks the consent decisions about
    these numbers. Call it after contacts are locked and before campaigns are locked. All code locks
    in this order: contacts, consent decisions, campaigns.
    """
    if not chunk.opt_outs:
        return
    numbers = listed_numbers.strictest_entries(
        ListedNumber(
            phone=phone,
            action=ConsentAction.OPT_OUT if one.is_clear else ConsentAction.HOLD,
            is_do_not_contact=one.is_do_not_contact and one.is_clear,
            evidence={
                "import_id": str(row.id),
                "line": one.line,
                "column": one.column,
                "value": one.value,
            },
        )
        for one in chunk.opt_outs
        for phone in one.phones
    )
    if row.dry_run:
        counts = await listed_numbers.count_new_flags(uow.session, numbers, now=now)
    else:
        counts = await listed_numbers.apply_listed_numbers(
            uow,
            numbers,
            reason=flag_reason(row.id),
            now=await uow.database_now(),
            secret=secret,
        )
    row.changes = _added(
        row.changes,
        {
            CONSENT + flag: {"filled": count, "overwritten": 0}
            for flag, count in counts.items()
            if count
        },
    )


async def _apply_follow_ups(uow: UnitOfWork, *, now: datetime, secret: bytes) -> None:
    """Update data in other tables that depends on the contacts stored in this chunk.

    Campaign recipients get the new zone keys of their contacts. If the file contains the number of
    an erased person, the number is blocked again.
    """
    if rezoned := await staging.fetch_phones_with_new_zone(uow.session):
        await recipients.copy_zone_keys(uow.session, phones=rezoned, now=now)
    new = await staging.fetch_new_phones(uow.session)
    await suppress_erased(uow, phones=new, now=now, secret=secret)


async def _sample(uow: UnitOfWork, row: ContactImport) -> list[dict[str, Any]]:
    """Return as many examples from this chunk as the import still needs.

    An import shows up to 18 changed and 6 new contacts as examples.
    """
    known = sum(1 for one in row.sample if one["outcome"] == "updated")
    found: list[dict[str, Any]] = []
    for is_known, lacking in (
        (True, SAMPLE_CHANGED - known),
        (False, SAMPLE_NEW - (len(row.sample) - known)),
    ):
        if lacking > 0:
            rows = await staging.fetch_examples(uow.session, is_known=is_known, limit=lacking)
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


def convert_attributes(
    records: Sequence[Record], defined: Definitions, mapping: Mapping[str, str | None]
) -> tuple[Sequence[Record], list[RowProblem]]:
    """Convert the values of custom fields to the types of these fields.

    Args:
        mapping: The field of each column of the file.

    Returns:
        The converted records, without the values that cannot be converted, and a ``RowProblem`` for
        each cell whose value was left out.
    """
    # Most files have no values of custom fields. For these files, the attributes are not parsed.
    marks = [f'"{name}":' for name in defined.by_name]
    taken: list[Record] = []
    problems: dict[tuple[int, str], RowProblem] = {}
    for record in records:
        if not any(mark in record[_VALUES] for mark in marks):
            taken.append(record)
            continue
        attributes, misfits = defined.normalise(orjson.loads(record[_VALUES]))
        written = orjson.dumps(attributes).decode()
        taken.append((*record[:_VALUES], written, *record[_VALUES + 1 :]))
        for misfit in misfits:
            # The two people of a row share its cells. So only one problem is reported for both of
            # them.
            problems[record[_LINE], misfit.name] = RowProblem(
                line=record[_LINE],
                column=_column(misfit.name, mapping),
                value=str(misfit.value)[:MAX_SHOWN],
                code=misfit.code,
                reason=f"{misfit.detail} The person is imported without it.",
                refuses=False,
            )
    return taken, list(problems.values())
