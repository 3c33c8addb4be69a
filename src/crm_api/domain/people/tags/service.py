"""Count tags, and change them for many contacts in chunks, so that row locks are short."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.models.tags import TagChange, TagChangeStatus, TagCount
from crm_api.domain.people.tags import queries
from crm_api.domain.people.tags.errors import (
    TagChangeNotFoundError,
    TagNotFoundError,
    TagPeopleError,
)
from crm_api.domain.people.tags.schemas import PeopleFilter, TagRead, TagsRequest
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

CHUNK_CONTACTS = 2_000
"""Contacts locked at once, for some tens of milliseconds."""
COUNTED_LIVE_BYTES = 16 * 1024 * 1024
"""Up to this table size, about 50,000 contacts, tags are counted for each request."""
_NO_ID = UUID(int=0)
"""A placeholder in cursors, because tags have no id."""
COUNT_AGAIN_AFTER = timedelta(minutes=5)


async def list_tags(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[TagRead]:
    """Return a page of tags by name, with the number of contacts that have each.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("tags")
    after = cursors.read_text(cursor)
    is_small = await queries.contact_bytes(uow.session) <= COUNTED_LIVE_BYTES
    last = None if after is None else after[0]
    rows: Sequence[queries.LiveTagCount | TagCount] = (
        await queries.count_live_tags(uow.session, after=last, limit=limit + 1)
        if is_small
        else await queries.list_counts(uow.session, after=last, limit=limit + 1)
    )
    shown = [
        TagRead(tag=row.tag, contact_count=row.contacts, counted_at=row.counted_at)
        for row in rows[:limit]
    ]
    return Page(shown, cursors.write(shown[-1].tag, _NO_ID) if len(rows) > limit else None)


async def count_people(uow: UnitOfWork, body: TagsRequest, *, now: datetime) -> int:
    """Count the contacts whose tags a request would process.

    Raises:
        TagPeopleError: Both ids and filter are given, or neither, or an id belongs to no contact.
    """
    ids, wanted = await _people(uow, body)
    if wanted is None:
        return len(ids or ())
    return await contacts.count_contacts(uow, wanted.wanted(), now=now)


async def change(uow: UnitOfWork, body: TagsRequest, *, actor: str, now: datetime) -> TagChange:
    """Change the tags of the first chunk of contacts; a job changes those of the others.

    Raises:
        TagPeopleError: Both ids and filter are given, or neither, or an id belongs to no contact.
    """
    ids, wanted = await _people(uow, body)
    return await _begin(
        uow, add=body.add, remove=body.remove, ids=ids, wanted=wanted, actor=actor, now=now
    )


async def rename(uow: UnitOfWork, *, tag: str, name: str, actor: str, now: datetime) -> TagChange:
    """Rename a tag on the first chunk of contacts; a job renames it on the others.

    Raises:
        TagNotFoundError: No contact has the tag.
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


async def delete_tag(uow: UnitOfWork, *, tag: str, actor: str, now: datetime) -> TagChange:
    """Remove a tag from the first chunk of contacts; a job removes it from the others.

    Raises:
        TagNotFoundError: No contact has the tag.
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
    """Return a tag change with its progress.

    Raises:
        TagChangeNotFoundError: No tag change has this id.
    """
    found = await queries.find_change(uow.session, change_id=change_id)
    if found is None:
        raise TagChangeNotFoundError("No tag change has this id.")
    return found


async def work_on(uow: UnitOfWork, *, now: datetime) -> bool:
    """Apply the next chunk of the oldest running tag change; False if there is none."""
    waiting = await queries.take_change(uow.session)
    if waiting is None:
        return False
    await _work(uow, waiting, now=now)
    return True


async def refresh_tag_counts(uow: UnitOfWork, *, now: datetime) -> None:
    """If the database is large, count the contacts of each tag; at most every 5 minutes."""
    if await queries.contact_bytes(uow.session) <= COUNTED_LIVE_BYTES:
        return
    last = await queries.last_counted(uow.session)
    if last is None or now - last >= COUNT_AGAIN_AFTER:
        await queries.keep_counts(uow.session, now=now)


async def _people(
    uow: UnitOfWork, body: TagsRequest
) -> tuple[list[UUID] | None, PeopleFilter | None]:
    if (body.contact_ids is None) == (body.filter is None):
        raise TagPeopleError("/contact_ids", "Give exactly one of contact_ids and filter.")
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
    await note_decision(
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
    """Change the tags of the next chunk of contacts; request the job if more are left."""
    if change.filter is None:
        ids = change.contact_ids or []
    else:
        ids = await contacts.fetch_contact_ids(
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
