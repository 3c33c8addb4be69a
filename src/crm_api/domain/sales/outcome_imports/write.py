"""Record one chunk of an import of outcomes in one transaction, and undo an import.

A dry run is rolled back. An undo reverses each outcome that the import recorded.
"""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.imports.contacts.models import (
    CONTACT_IMPORTS,
    ContactImport,
    ContactImportChunk,
    UndoState,
    emit_progress,
)
from crm_api.domain.imports.contacts.rows import RowProblem
from crm_api.domain.imports.contacts.undo import find_last_chunk, mark_chunk_undone
from crm_api.domain.imports.contacts.undo_request import COUNTS
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.runs import LEASE
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.sales.outcome_imports.source import OutcomeChunk, OutcomeRow
from crm_api.domain.sales.outcomes.errors import OutcomeExistsError, OutcomeReversedError
from crm_api.domain.sales.outcomes.models import Outcome
from crm_api.domain.sales.outcomes.queries import FoundOutcome, read_outcome
from crm_api.domain.sales.outcomes.record import (
    NewOutcome,
    RecordedOutcome,
    record_outcome,
    reverse_outcome,
)
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWork

UNDO_OF = "undo of import "
"""The beginning of ``recorded_by`` in the reversals that an undo records. The import's id follows.
"""
_SAMPLE = 24


@dataclass
class _Result:
    made: list[UUID] = field(default_factory=list)
    known: int = 0
    sample: list[dict[str, Any]] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)


async def apply_chunk(
    uow: UnitOfWork, *, import_id: UUID, chunk: OutcomeChunk, now: datetime, secret: bytes
) -> bool:
    """Record the outcomes of a chunk of a file; store the errors, counts and progress.

    In a dry run, the outcomes are recorded and then rolled back. The counts and errors are stored.

    Returns:
        False if the import has ended, or if another worker has taken it over. The caller then
        stops.
    """
    held = await runs.lock_running(
        uow.session, CONTACT_IMPORTS, import_id=import_id, rows_processed=chunk.start
    )
    if held is None:
        return False
    result = _Result()
    if held.dry_run:
        savepoint = await uow.session.begin_nested()
        try:
            await _record_rows(uow, held, chunk, result, now=now, secret=secret)
        finally:
            await savepoint.rollback()
    else:
        await _record_rows(uow, held, chunk, result, now=now, secret=secret)
        uow.session.add(_kept_for_undo(import_id, chunk.start, result.made, now=now))
    problems = sorted([*chunk.problems, *result.problems], key=lambda problem: problem.line)
    if problems:
        errors = [asdict(problem) for problem in problems]
        await runs.add_errors(uow.session, CONTACT_IMPORTS, import_id=import_id, errors=errors)
    held.rows_processed = chunk.end
    held.created += len(result.made)
    held.unchanged += result.known
    held.duplicates_in_file += chunk.duplicates
    held.invalid += len(problems)
    held.sample = [*held.sample, *result.sample][:_SAMPLE]
    held.lease_until = now + LEASE
    held.updated_at = now
    await uow.session.flush()
    await emit_progress(uow, held)
    await failpoints.reach("import.open")
    return True


async def _record_rows(
    uow: UnitOfWork,
    held: ContactImport,
    chunk: OutcomeChunk,
    result: _Result,
    *,
    now: datetime,
    secret: bytes,
) -> None:
    by = held.actor or f"import {held.id}"
    # Each row locks a contact (by its phone number) and the hash of an external id. All imports
    # sort their rows in the same order, so that two imports cannot deadlock.
    for row in sorted(chunk.outcomes, key=lambda row: (row.new.phone, row.new.external_id)):
        try:
            done = await _record(uow, row.new, recorded_by=by, secret=secret, now=now)
        except CrmError as error:
            result.problems.append(_problem(row, error))
            continue
        if done.is_new:
            result.made.append(done.outcome.id)
            result.sample.append(_example(row, done.outcome))
        else:
            result.known += 1
    result.sample.sort(key=lambda one: int(one["line"]))


async def _record(
    uow: UnitOfWork, new: NewOutcome, *, recorded_by: str, secret: bytes, now: datetime
) -> RecordedOutcome:
    """Record an outcome under its external id; if it is already recorded, only return it.

    The id may belong to another outcome already:

    - If that outcome has another kind, the new kind is appended to the id.
    - If the undo of an import has reversed that outcome, a number is appended to the id.

    So a second import of the same file adds nothing, unless the first import was undone.

    Raises:
        OutcomeExistsError: The id belongs to an outcome of this kind with other values.
    """
    base, attempt, has_kind = new.external_id, 1, False
    while True:
        external_id = base if attempt == 1 else f"{base} ({attempt})"
        asked = replace(new, external_id=external_id)
        conflict: OutcomeExistsError | None = None
        try:
            done = await record_outcome(uow, asked, recorded_by=recorded_by, secret=secret, now=now)
            found = done.outcome
        except OutcomeExistsError as error:
            conflict = error
            found = await read_outcome(uow, outcome_id=UUID(error.extras["outcome_id"]))
        if conflict is not None and found.kind != new.kind and not has_kind:
            base, attempt, has_kind = f"{base} ({new.kind})", 1, True
        elif await _is_undone(uow, found):
            attempt += 1
        elif conflict is not None:
            raise conflict
        else:
            return done


async def _is_undone(uow: UnitOfWork, found: FoundOutcome) -> bool:
    if found.reversed_by_id is None:
        return False
    reversal = await uow.session.get(Outcome, found.reversed_by_id)
    return reversal is not None and reversal.recorded_by.startswith(UNDO_OF)


def _problem(row: OutcomeRow, error: CrmError) -> RowProblem:
    known = error.extras.get("outcome_id")
    first = f" The id of the recorded outcome is {known}." if known else ""
    return RowProblem(
        line=row.line,
        column=None,
        value=row.new.external_id,
        code=error.code,
        reason=f"{error.detail}{first} The row was not imported.",
        refuses=True,
    )


def _example(row: OutcomeRow, found: FoundOutcome) -> dict[str, Any]:
    shown = {
        "kind": found.kind,
        "amount_cents": found.amount_cents,
        "occurred_at": found.occurred_at.isoformat(),
    }
    return {
        "line": row.line,
        "phone": row.new.phone,
        "contact_id": None if found.contact_id is None else str(found.contact_id),
        "outcome": "created",
        "changes": {name: {"before": None, "after": value} for name, value in shown.items()},
    }


def _kept_for_undo(
    import_id: UUID, start: int, made: list[UUID], *, now: datetime
) -> ContactImportChunk:
    return ContactImportChunk(
        import_id=import_id,
        start=start,
        applied_at=now,
        outcomes=[],
        created_ids=made,
        changed_ids=[],
        changes=[],
    )


async def undo_chunk(uow: UnitOfWork, *, import_id: UUID, now: datetime) -> bool:
    """Undo one chunk of an import of outcomes: the last chunk that is not undone yet.

    Each outcome of the chunk is reversed, and counts as ``removed``. An outcome that was already
    reversed counts as ``left_edited``.

    Returns:
        True if the caller must call this function again. False if the undo has ended.
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
    """Count what an undo of the import would do; change nothing.

    Returns:
        ``removed`` is the number of outcomes that the undo would reverse. ``left_edited`` is the
        number of outcomes that the undo would not change, because they are already reversed. The
        other counts are 0.
    """
    found = (await uow.session.execute(_COUNT, {"import_id": row.id})).mappings().one()
    return dict.fromkeys(COUNTS, 0) | dict(found)
