"""Who fits rules: counted, sampled, listed, and each of them explained."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.contacts.schemas import FlaggedContact
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.segments import explaining, queries
from crm_api.domain.segments.compiling import compile_filter
from crm_api.domain.segments.explaining import Verdict
from crm_api.domain.segments.reading import read_filter
from crm_api.domain.segments.references import read_with_references
from crm_api.domain.segments.service import get


async def list_people(
    uow: UnitOfWork, *, segment_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[FlaggedContact]:
    """List who fits a segment now, the last added first.

    Raises:
        SegmentNotFoundError: There is none with this id.
        InvalidCursorError: The cursor is not one of this list's.
    """
    segment = await get(uow, segment_id=segment_id)
    cursors = Cursors("segment_contacts", segment_id=segment_id, filter=segment.filter)
    after = cursors.read(cursor)
    condition = compile_filter(read_filter(segment.filter), now=now, by_person=True)
    rows = await queries.page(uow.session, condition, after=after, limit=limit + 1)
    page = cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))
    found = await contacts.get_many(uow, contact_ids=[row.id for row in page.data], now=now)
    return Page(found, page.next_cursor)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Who would fit; ``count`` is None when it was not asked for."""

    count: int | None
    sample: list[FlaggedContact]


async def preview(
    uow: UnitOfWork,
    filter_: Any,  # noqa: ANN401 - JSON
    *,
    limit: int,
    with_count: bool,
    now: datetime,
) -> Preview:
    """Count who fits rules that are not stored, and fetch some of them.

    Raises:
        InvalidFilterError: The rules have faults, or name a list or campaign that is not there.
    """
    node = await read_with_references(uow, filter_)
    everybody = compile_filter(node, now=now)
    count = await queries.count(uow.session, everybody) if with_count else None
    # Where nobody fits, a search for some goes through everybody for nothing.
    wanted = 0 if count == 0 else limit
    some = compile_filter(node, now=now, by_person=True)
    ids = await queries.sample(uow.session, some, limit=wanted) if wanted else []
    people = await contacts.get_many(uow, contact_ids=ids, now=now)
    return Preview(count=count, sample=people)


async def count(uow: UnitOfWork, *, segment_id: UUID, now: datetime) -> int:
    """Count who fits a segment now.

    Raises:
        SegmentNotFoundError: There is none with this id.
    """
    node = read_filter((await get(uow, segment_id=segment_id)).filter)
    return await queries.count(uow.session, compile_filter(node, now=now))


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Of whom, by the present id, and what holds; the first verdict is that of the whole."""

    contact_id: UUID
    verdicts: list[Verdict]


async def explain(
    uow: UnitOfWork, *, segment_id: UUID, contact_id: UUID, now: datetime
) -> Explanation:
    """Say of each rule and group whether it holds of a person.

    Raises:
        SegmentNotFoundError: There is none with this id.
        ContactNotFoundError: The person is not there, or was deleted.
    """
    node = read_filter((await get(uow, segment_id=segment_id)).filter)
    person_id = (await contacts.get(uow, contact_id=contact_id, now=now)).contact.id
    verdicts = await explaining.explain(uow.session, node, contact_id=person_id, now=now)
    return Explanation(contact_id=person_id, verdicts=verdicts)
