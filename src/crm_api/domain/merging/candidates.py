"""Pairs of contacts that may be one person: found in the background, shown, dismissed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.merging import candidate_queries as queries
from crm_api.domain.merging.errors import CandidateNotFoundError
from crm_api.domain.merging.schemas import CandidateRead
from crm_api.domain.paging import Cursors, Page

REST = 20
"""A pass is followed by a rest of so many times its length: it takes a twentieth at most."""
UNSEEN = timedelta(minutes=1)
"""A change that was open when a pass began is seen by the next."""


async def list_candidates(
    uow: UnitOfWork,
    *,
    contact_id: UUID | None,
    min_score: int,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[CandidateRead]:
    """List pairs that nobody has dismissed, the surest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("merge_candidates", contact_id=contact_id, min_score=min_score)
    after = cursors.read_text(cursor)
    rows = await queries.list_candidates(
        uow.session,
        contact_id=contact_id,
        min_score=min_score,
        after=None if after is None else (int(after[0]), after[1]),
        limit=limit + 1,
    )
    page = cursors.page(rows, limit=limit, position=lambda row: (str(row.score), row.id))
    shown = page.data
    wanted = {one for row in shown for one in (row.first_id, row.second_id)}
    found = await contacts.get_many(uow, contact_ids=sorted(wanted), now=now)
    people = {one.contact.id: one for one in found}
    data = [
        CandidateRead.of(row, people[row.first_id], people[row.second_id])
        for row in shown
        if {row.first_id, row.second_id} <= people.keys()
    ]
    return Page(data, page.next_cursor)


async def dismiss(uow: UnitOfWork, *, candidate_id: UUID, actor: str, now: datetime) -> None:
    """Say that a pair is two people: it is not shown again.

    Raises:
        CandidateNotFoundError: There is no such pair, or it is no pair any more.
    """
    if await queries.dismiss(uow.session, candidate_id=candidate_id, actor=actor, now=now) is None:
        raise CandidateNotFoundError("There is no candidate with this id.")


async def find(uow: UnitOfWork, *, now: datetime, clock: Callable[[], datetime]) -> bool:
    """Look for pairs among all contacts, unless the last pass was just now or nothing changed.

    Args:
        clock: Tells when the pass is over, which decides about the rest after it.

    Returns:
        False when there was nothing to do.
    """
    session = uow.session
    if not await queries.try_lock_scan(session):
        return False
    last = await queries.last_scan(session)
    if last is not None:
        rests_until = last.finished_at + REST * (last.finished_at - last.started_at)
        is_early = now < rests_until
        if is_early or not await queries.changed_since(session, at=last.started_at - UNSEEN):
            return False
    await queries.find_pairs(session, now=now)
    await queries.note_scan(session, started_at=now, finished_at=clock())
    return True
