"""Change the tags of many contacts in chunks, so that each contact is locked only for a moment."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, NotFoundError
from crm_api.domain.people.contacts import search
from crm_api.domain.people.contacts.schemas import MAX_TAGS
from crm_api.domain.people.models.contacts import Contact, TagChange, TagChangeStatus
from crm_api.domain.people.tags.schemas import PeopleFilter, TagsRequest
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.jobs import Job, JobName


class TagNotFoundError(NotFoundError):
    """No contact has this tag."""

    code = "tag_not_found"
    title = "Tag not found"
    detail = "No contact has this tag. GET /v1/tags lists the tags."


class TagChangeNotFoundError(NotFoundError):
    """No tag change has this id."""

    code = "tag_change_not_found"
    title = "Tag change not found"
    detail = "No tag change has this id. Use the id that you got when you started the tag change."


class TagPeopleError(InvalidError):
    """Both or none of ``contact_ids`` and ``filter`` are given, or a contact id is unknown."""

    code = "tag_people"
    title = "Contacts not given correctly"
    example = Example("/contact_ids", "Give exactly one of `contact_ids` and `filter`.")

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


CHUNK_CONTACTS = 2_000
"""The number of contacts that one transaction locks. The locks last some tens of milliseconds."""


async def count_people(uow: UnitOfWork, body: TagsRequest, *, now: datetime) -> int:
    """Count the contacts that a request to change tags would process.

    Raises:
        TagPeopleError: ``contact_ids`` and ``filter`` are both given or both missing. Or an id in
            ``contact_ids`` does not belong to a contact.
    """
    ids, wanted = await _people(uow, body)
    if wanted is None:
        return len(ids or ())
    return await search.count_matches(uow.session, wanted.wanted(), now=now)


async def change_tags(
    uow: UnitOfWork, body: TagsRequest, *, actor: str, now: datetime
) -> TagChange:
    """Change the tags of the first chunk of contacts; a job changes the remaining contacts.

    Raises:
        TagPeopleError: ``contact_ids`` and ``filter`` are both given or both missing. Or an id in
            ``contact_ids`` does not belong to a contact.
    """
    ids, wanted = await _people(uow, body)
    return await _begin(
        uow, add=body.add, remove=body.remove, ids=ids, wanted=wanted, actor=actor, now=now
    )


async def add_tag(
    uow: UnitOfWork, *, tag: str, contact_ids: Sequence[UUID], actor: str, now: datetime
) -> None:
    """Add a tag to these contacts immediately, without a job.

    A contact that would have too many tags does not change.
    """
    await _begin(
        uow,
        add=[tag],
        remove=[],
        ids=sorted(set(contact_ids)),
        wanted=None,
        actor=actor,
        now=now,
    )


async def rename_tag(
    uow: UnitOfWork, *, tag: str, name: str, actor: str, now: datetime
) -> TagChange:
    """Rename a tag on the first chunk of contacts; a job renames the tag on the other contacts.

    Raises:
        TagNotFoundError: No contact has the tag.
    """
    await _require_used(uow, tag)
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
    """Remove a tag from the first chunk of contacts; a job removes the tag from the other contacts.

    Raises:
        TagNotFoundError: No contact has the tag.
    """
    await _require_used(uow, tag)
    return await _begin(
        uow,
        add=[],
        remove=[tag],
        ids=None,
        wanted=PeopleFilter(tag=tag),
        actor=actor,
        now=now,
    )


async def get_tag_change(uow: UnitOfWork, *, change_id: UUID) -> TagChange:
    """Return a tag change (a request to change the tags of many contacts) with its progress.

    Raises:
        TagChangeNotFoundError: No tag change has this id.
    """
    return await get_or_raise(uow.session, TagChange, change_id, TagChangeNotFoundError)


async def apply_next_chunk(uow: UnitOfWork, *, now: datetime) -> bool:
    """Apply the next chunk of the oldest running tag change that no other worker has locked.

    A tag change is a request to change the tags of many contacts.

    Returns:
        False if no such tag change exists.
    """
    waiting = await lock_next_change(uow.session)
    if waiting is None:
        return False
    await _process_chunk(uow, waiting, now=now)
    return True


async def lock_next_change(session: AsyncSession) -> TagChange | None:
    """Lock and return the oldest running tag change that no other worker has locked.

    A tag change is a request to change the tags of many contacts. Return None if no such tag change
    exists.
    """
    statement = (
        select(TagChange)
        .where(TagChange.status == TagChangeStatus.RUNNING)
        .order_by(TagChange.created_at, TagChange.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return await session.scalar(statement.execution_options(populate_existing=True))


# If a given contact was merged as a duplicate, the statement selects the contact into which it was
# merged. Deleted contacts are left out.
_HEADS = text("""
    SELECT x.place, coalesce(c.merged_into, c.id) AS id
    FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS x (id, place)
    JOIN contact c ON c.id = x.id
    WHERE c.deleted_at IS NULL OR c.merged_into IS NOT NULL
""")


async def _people(
    uow: UnitOfWork, body: TagsRequest
) -> tuple[list[UUID] | None, PeopleFilter | None]:
    if (body.contact_ids is None) == (body.filter is None):
        raise TagPeopleError("/contact_ids", "Give exactly one of `contact_ids` and `filter`.")
    if body.contact_ids is None:
        return None, body.filter
    rows = await uow.session.execute(_HEADS, {"ids": list(body.contact_ids)})
    heads = {row.place - 1: row.id for row in rows}
    missing = next((at for at in range(len(body.contact_ids)) if at not in heads), None)
    if missing is not None:
        raise TagPeopleError(
            f"/contact_ids/{missing}",
            "No contact has this id. GET /v1/contacts lists the contacts.",
        )
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
    statement = insert(TagChange).values(
        {
            "add": add,
            "remove": remove,
            "contact_ids": ids,
            "filter": None if wanted is None else wanted.model_dump(mode="json"),
            "status": TagChangeStatus.RUNNING,
            "requested_by": actor,
            "created_at": now,
        }
    )
    change = (await uow.session.scalars(statement.returning(TagChange))).one()
    await note_decision(
        uow,
        actor=actor,
        action="change_tags",
        subject=str(change.id),
        detail={"add": add, "remove": remove},
        now=now,
    )
    await _process_chunk(uow, change, now=now)
    return await get_tag_change(uow, change_id=change.id)


async def _process_chunk(uow: UnitOfWork, change: TagChange, *, now: datetime) -> None:
    """Change the tags of the next chunk of contacts; request the job if more contacts are left."""
    if change.filter is None:
        ids = change.contact_ids or []
    else:
        ids = await search.fetch_matching_ids(
            uow.session,
            PeopleFilter.model_validate(change.filter).wanted(),
            after=change.position,
            created_until=change.created_at,
            limit=CHUNK_CONTACTS,
            now=now,
        )
    changed, refused = await _apply_tags(
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
    await uow.session.execute(update(TagChange).where(TagChange.id == change.id).values(values))
    if not is_over:
        uow.after_commit(Job(name=JobName.CHANGE_TAGS))


# SQL for the tags of a contact after the change. They are computed from the locked row, so that a
# change by another request at the same time is not lost.
_TAGS_AFTER = """ARRAY(
    SELECT u.tag FROM unnest(c.tags || CAST(:add AS text[])) WITH ORDINALITY AS u (tag, place)
    WHERE u.tag <> ALL(CAST(:remove AS text[])) GROUP BY u.tag ORDER BY min(u.place))"""
# Contacts are locked in the order of their phone numbers, as in all other code, so that two
# transactions cannot deadlock.
_LOCK = text("""
    SELECT c.id FROM contact c
    WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.deleted_at IS NULL
    ORDER BY c.phone FOR NO KEY UPDATE
""")

_COUNT_REFUSED = text(f"""
    SELECT count(*) FROM contact c
    WHERE c.id = ANY(CAST(:ids AS uuid[])) AND cardinality({_TAGS_AFTER}) > {MAX_TAGS}
      AND cardinality({_TAGS_AFTER}) > cardinality(c.tags)
""")

_APPLY = text(f"""
    UPDATE contact c SET tags = {_TAGS_AFTER}, updated_at = :now
    WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.tags <> {_TAGS_AFTER}
      AND cardinality({_TAGS_AFTER}) <= greatest({MAX_TAGS}, cardinality(c.tags))
    RETURNING c.id
""")


async def _apply_tags(
    session: AsyncSession,
    *,
    ids: Collection[UUID],
    add: Sequence[str],
    remove: Sequence[str],
    now: datetime,
) -> tuple[int, int]:
    """Lock these contacts and change their tags.

    Returns:
        The number of changed contacts, and the number of contacts that did not change because they
        would have too many tags.
    """
    values = {"ids": list(ids), "add": list(add), "remove": list(remove)}
    await session.execute(_LOCK, {"ids": list(ids)})
    refused = await session.scalar(_COUNT_REFUSED, values) or 0
    changed = (await session.execute(_APPLY, values | {"now": now})).all()
    return len(changed), refused


async def _require_used(uow: UnitOfWork, tag: str) -> None:
    is_used = exists().where(Contact.tags.contains([tag]), Contact.deleted_at.is_(None))
    if not await uow.session.scalar(select(is_used)):
        raise TagNotFoundError
