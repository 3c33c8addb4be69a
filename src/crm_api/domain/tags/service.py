"""Tags: counted, and changed for many contacts in chunks that hold no row for long."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.operations import service as operations
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.tags import queries
from crm_api.domain.tags.errors import (
    TagChangeNotFoundError,
    TagNotFoundError,
    TagPeopleError,
)
from crm_api.domain.tags.models import TagChange, TagChangeStatus
from crm_api.domain.tags.schemas import PeopleFilter, TagRead, TagsRequest
from crm_api.jobs import Job, JobName

CHUNK_CONTACTS = 2_000
"""Locked at once, for some tens of milliseconds."""
COUNTED_LIVE_BYTES = 16 * 1024 * 1024
"""Up to this size of the table, some 50,000 people, tags are counted when asked."""
_NO_ID = UUID(int=0)
"""A tag is its own id."""
COUNT_AGAIN_AFTER = timedelta(minutes=5)


async def list_tags(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[TagRead]:
    """List the tags with how many contacts have each, by name.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("tags")
    after = cursors.read_text(cursor)
    is_small = await queries.contact_bytes(uow.session) <= COUNTED_LIVE_BYTES
    list_of = queries.count_now if is_small else queries.list_counts
    rows: Sequence[Any] = await list_of(
        uow.session, after=None if after is None else after[0], limit=limit + 1
    )
    shown = [
        TagRead(tag=row.tag, contact_count=row.contacts, counted_at=row.counted_at)
        for row in rows[:limit]
    ]
    return Page(shown, cursors.write(shown[-1].tag, _NO_ID) if len(rows) > limit else None)


async def count_people(uow: UnitOfWork, body: TagsRequest, *, now: datetime) -> int:
    """Count whose tags a request would look at.

    Raises:
        TagPeopleError: Whom it means is not clear.
    """
    ids, wanted = await _people(uow, body)
    if wanted is None:
        return len(ids or ())
    return await contacts.count(uow, wanted.wanted(), now=now)


async def change(uow: UnitOfWork, body: TagsRequest, *, actor: str, now: datetime) -> TagChange:
    """Put tags on, and take them off, whoever is meant; what is left asks for ``change_tags``.

    Raises:
        TagPeopleError: Whom it means is not clear.
    """
    ids, wanted = await _people(uow, body)
    return await _begin(
        uow, add=body.add, remove=body.remove, ids=ids, wanted=wanted, actor=actor, now=now
    )


async def rename(uow: UnitOfWork, *, tag: str, name: str, actor: str, now: datetime) -> TagChange:
    """Give a tag another name, wherever it is.

    Raises:
        TagNotFoundError: Nobody has it.
    """
    await _require(uow, tag)
    return await _begin(
        uow,
        add=[name],
        remove=[tag] if name != tag else [],
        ids=None,
        wanted=PeopleFilter(tag=tag),
        actor=actor,
        now=now,
    )


async def delete(uow: UnitOfWork, *, tag: str, actor: str, now: datetime) -> TagChange:
    """Take a tag off everybody.

    Raises:
        TagNotFoundError: Nobody has it.
    """
    await _require(uow, tag)
    return await _begin(
        uow,
        add=[],
        remove=[tag],
        ids=None,
        wanted=PeopleFilter(tag=tag),
        actor=actor,
        now=now,
    )


async def get_change(uow: UnitOfWork, *, change_id: UUID) -> TagChange:
    """Fetch a change of tags.

    Raises:
        TagChangeNotFoundError: There is none with this id.
    """
    found = await queries.find_change(uow.session, change_id=change_id)
    if found is None:
        raise TagChangeNotFoundError("There is no change of tags with this id.")
    return found


async def work_on(uow: UnitOfWork, *, now: datetime) -> bool:
    """Work on the next chunk of the change that waits longest; False when none waits."""
    waiting = await queries.take_change(uow.session)
    if waiting is None:
        return False
    await _work(uow, waiting, now=now)
    return True


async def keep_counts(uow: UnitOfWork, *, now: datetime) -> None:
    """Count the tags of a large store again, unless that was just done."""
    if await queries.contact_bytes(uow.session) <= COUNTED_LIVE_BYTES:
        return
    last = await queries.last_counted(uow.session)
    if last is None or now - last >= COUNT_AGAIN_AFTER:
        await queries.keep_counts(uow.session, now=now)


async def _people(
    uow: UnitOfWork, body: TagsRequest
) -> tuple[list[UUID] | None, PeopleFilter | None]:
    if (body.contact_ids is None) == (body.filter is None):
        raise TagPeopleError("/contact_ids", "Give either contact_ids or a filter.")
    if body.contact_ids is None:
        return None, body.filter
    heads = await queries.find_heads(uow.session, ids=body.contact_ids)
    missing = next((at for at in range(len(body.contact_ids)) if at not in heads), None)
    if missing is not None:
        raise TagPeopleError(f"/contact_ids/{missing}", "No contact has this id.")
    return sorted(set(heads.values())), None


async def _begin(
    uow: UnitOfWork,
    *,
    add: list[str],
    remove: list[str],
    ids: list[UUID] | None,
    wanted: PeopleFilter | None,
    actor: str,
    now: datetime,
) -> TagChange:
    change = await queries.insert_change(
        uow.session,
        values={
            "add": add,
            "remove": remove,
            "contact_ids": ids,
            "filter": None if wanted is None else wanted.model_dump(mode="json"),
            "status": TagChangeStatus.RUNNING,
            "requested_by": actor,
            "created_at": now,
        },
    )
    await operations.audit(
        uow,
        actor=actor,
        action="change_tags",
        subject=str(change.id),
        detail={"add": add, "remove": remove},
        now=now,
    )
    await _work(uow, change, now=now)
    return await get_change(uow, change_id=change.id)


async def _work(uow: UnitOfWork, change: TagChange, *, now: datetime) -> None:
    """Change the tags of the next chunk; asks for ``change_tags`` when more are left."""
    if change.filter is None:
        ids = change.contact_ids or []
    else:
        ids = await contacts.ids_of(
            uow,
            PeopleFilter.model_validate(change.filter).wanted(),
            after=change.position,
            created_until=change.created_at,
            limit=CHUNK_CONTACTS,
            now=now,
        )
    changed, refused = await queries.apply_tags(
        uow.session, ids=ids, add=change.add, remove=change.remove, now=now
    )
    is_over = change.filter is None or len(ids) < CHUNK_CONTACTS
    values = {
        "position": ids[-1] if ids else change.position,
        "matched": change.matched + len(ids),
        "changed": change.changed + changed,
        "refused": change.refused + refused,
        "status": TagChangeStatus.COMPLETED if is_over else TagChangeStatus.RUNNING,
        "finished_at": now if is_over else None,
    }
    await queries.note_progress(uow.session, change_id=change.id, values=values)
    if not is_over:
        uow.after_commit(Job(name=JobName.CHANGE_TAGS))


async def _require(uow: UnitOfWork, tag: str) -> None:
    if not await queries.has_tag(uow.session, tag=tag):
        raise TagNotFoundError("No contact has this tag.")
