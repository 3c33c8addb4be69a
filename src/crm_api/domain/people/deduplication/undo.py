"""Read merges, and undo a merge: each contact gets its data back.

Values that were edited after the merge stay.

An undo removes no flags from phone numbers, not even the flags that the merge has set. So a number
that was opted out before the undo is still opted out after it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.people.contacts import recipients
from crm_api.domain.people.contacts.changes import write_contact
from crm_api.domain.people.deduplication import belongings, candidates, recipient_moves
from crm_api.domain.people.deduplication.errors import (
    MERGED_AGAIN,
    MergeNotFoundError,
    MergeNotUndoableError,
    MergeUndoneError,
)
from crm_api.domain.people.deduplication.field_merge import (
    DuplicateBefore,
    Snapshot,
    content_of,
    hand_over_additions,
    undo_fields,
)
from crm_api.domain.people.deduplication.group import lock_contacts, point_aliases
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.platform.database import UnitOfWork, get_or_raise


async def get_merge(uow: UnitOfWork, *, merge_id: UUID) -> ContactMerge:
    """Return a merge.

    Raises:
        MergeNotFoundError: No merge has this id.
    """
    return await get_or_raise(uow.session, ContactMerge, merge_id, MergeNotFoundError)


async def list_merges(
    uow: UnitOfWork, *, contact_id: UUID | None, cursor: str | None, limit: int
) -> Page[ContactMerge]:
    """List merges, newest first.

    With ``contact_id``, list only merges in which this contact is the primary or a duplicate.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    statement = select(ContactMerge)
    if contact_id is not None:
        statement = statement.where(
            or_(
                ContactMerge.primary_id == contact_id,
                ContactMerge.duplicate_ids.contains([contact_id]),
            )
        )
    cursors = Cursors("merges", contact_id=contact_id)
    return await read_newest(
        uow.session,
        statement,
        ContactMerge.merged_at,
        ContactMerge.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def undo_merge(uow: UnitOfWork, *, merge_id: UUID, actor: str, now: datetime) -> ContactMerge:
    """Undo a merge: restore its duplicates as separate contacts.

    Each duplicate gets back its fields, belongings, messages and recipients.
    ``recipient_moves.return_members`` lists the recipients that stay with the primary. Recipients
    that the merge skipped wait for their messages again
    (``recipient_moves.revive_skipped_members``).

    Raises:
        MergeNotFoundError: No merge has this id.
        MergeUndoneError: The merge was already undone.
        MergeNotUndoableError: The primary was deleted or was merged into another contact. Or a
            duplicate was deleted, or its phone number was changed.
    """
    merge = await get_merge(uow, merge_id=merge_id)
    # The contacts are locked before the row of the merge, in the same order as during a merge, so
    # that two transactions cannot deadlock.
    rows = await lock_contacts(uow.session, ids={merge.primary_id, *merge.duplicate_ids})
    locking = select(ContactMerge).where(ContactMerge.id == merge_id).with_for_update()
    locked = await uow.session.scalar(locking.execution_options(populate_existing=True))
    snapshot = _undoable(locked or merge, {row.id: row for row in rows})
    people = {row.id: row for row in rows}
    primary = people[merge.primary_id]
    numbers = [primary.phone, *(one.phone for one in snapshot.duplicates)]
    await recipient_moves.lock_campaigns(uow.session, phones=numbers)
    await sends.release_campaign_claims(uow, phones=numbers, now=now)
    other_merges = await _other_merges(uow, primary.id, merge_id=merge_id)
    others = [one for other in other_merges.values() for one in other.duplicates]
    for one in snapshot.duplicates:
        elsewhere = [*others, *(twin for twin in snapshot.duplicates if twin.id != one.id)]
        theirs = [member_id for twin in elsewhere for member_id in twin.member_ids]
        kept_ids = [*snapshot.member_ids, *theirs]
        await _restore_duplicate(uow, one, kept_ids, primary=primary, now=now)
    await _restore_primary(uow, primary, snapshot, others, now=now)
    revived = await recipient_moves.revive_skipped_members(
        uow.session, skipped=snapshot.skipped, now=now
    )
    if revived:
        await recipients.copy_zone_keys(uow.session, phones=numbers, now=now)
        await sends.derive_moved_recipients(uow, membership_ids=revived, now=now)
    await _hand_over_additions(uow, snapshot, other_merges)
    await candidates.dismiss_pairs(
        uow.session, one=primary.id, others=merge.duplicate_ids, actor=actor, now=now
    )
    await note_decision(
        uow,
        actor=actor,
        action="undo_merge",
        subject=str(primary.id),
        detail={
            "merge_id": str(merge_id),
            "duplicate_ids": [str(one) for one in merge.duplicate_ids],
        },
        now=now,
    )
    # The snapshot contains the data that an undo needs. It is removed, because the merge is undone
    # now.
    undone = (
        update(ContactMerge)
        .where(ContactMerge.id == merge_id)
        .values(undone_by=actor, undone_at=now, snapshot=null())
        .returning(ContactMerge)
        .execution_options(populate_existing=True)
    )
    return (await uow.session.scalars(undone)).one()


def _undoable(merge: ContactMerge, people: dict[UUID, Contact]) -> Snapshot:
    if merge.undone_at is not None:
        raise MergeUndoneError
    primary = people.get(merge.primary_id)
    if primary is not None and primary.merged_into is not None:
        raise MergeNotUndoableError(
            MERGED_AGAIN,
            reason="merged_again",
            contact_id=str(primary.merged_into),
        )
    if merge.snapshot is None or primary is None or primary.deleted_at is not None:
        raise MergeNotUndoableError(
            "A merged contact was deleted later, so the merge can no longer be undone.",
            reason="contact_deleted",
        )
    snapshot = Snapshot.model_validate(merge.snapshot)
    for one in snapshot.duplicates:
        row = people.get(one.id)
        if row is None or row.merged_into != primary.id or row.phone != one.phone:
            raise MergeNotUndoableError(
                "The phone number of a merged contact has changed, so the merge can no longer be "
                "undone.",
                reason="number_changed",
            )
    return snapshot


async def _restore_duplicate(
    uow: UnitOfWork,
    one: DuplicateBefore,
    kept_ids: Sequence[UUID],
    *,
    primary: Contact,
    now: datetime,
) -> None:
    session, zone = uow.session, zone_key_of({**one.content, "phone": one.phone})
    values = {
        **one.content,
        "zone_key": zone,
        "updated_at": now,
        "deleted_at": None,
        "merged_into": None,
    }
    await write_contact(session, contact_id=one.id, values=values)
    await point_aliases(session, ids=one.alias_ids, to=one.id, only_of=primary.id)
    await belongings.return_children(session, one, of=primary.id)
    lists = [(membership.list_id, membership.added_at) for membership in one.lists]
    await belongings.return_lists(session, to=one.id, lists=lists)
    await belongings.return_properties(session, to=one.id, properties=one.properties)
    await recipient_moves.add_zone(session, campaign_ids=one.campaign_ids, zone_key=zone)
    back = await recipient_moves.return_members(
        session,
        of=primary.id,
        phone_of=primary.phone,
        to=one.id,
        phone=one.phone,
        zone_key=zone,
        campaign_ids=one.campaign_ids,
        kept_ids=kept_ids,
        now=now,
    )
    await sends.derive_moved_recipients(uow, membership_ids=back, now=now)


async def _restore_primary(
    uow: UnitOfWork,
    primary: Contact,
    snapshot: Snapshot,
    others: Sequence[DuplicateBefore],
    *,
    now: datetime,
) -> None:
    """Remove the data that the primary (the contact that the merge kept) got only from this merge.

    Data that the primary also got from another merge is kept.
    """
    changes = undo_fields(
        content_of(primary), snapshot.before, snapshot.after, [one.content for one in others]
    )
    lists = {membership.list_id for one in others for membership in one.lists}
    properties = {place.property_id for one in others for place in one.properties}
    await belongings.leave_lists_and_properties(
        uow.session,
        contact_id=primary.id,
        list_ids=set(snapshot.joined_list_ids) - lists,
        property_ids=set(snapshot.joined_property_ids) - properties,
    )
    if changes:
        zone = zone_key_of({**(content_of(primary) | changes), "phone": primary.phone})
        values = {**changes, "zone_key": zone, "updated_at": now}
        await write_contact(uow.session, contact_id=primary.id, values=values)
        await recipients.copy_zone_keys(uow.session, phones=[primary.phone], now=now)


async def _other_merges(
    uow: UnitOfWork, primary_id: UUID, *, merge_id: UUID
) -> dict[UUID, Snapshot]:
    """Return the snapshots of the primary's other merges that can be undone, oldest first."""
    merges = await fetch_undoable_merges(uow.session, primary_id=primary_id)
    return {
        merge.id: Snapshot.model_validate(merge.snapshot)
        for merge in merges
        if merge.id != merge_id
    }


async def _hand_over_additions(
    uow: UnitOfWork, undone: Snapshot, others: Mapping[UUID, Snapshot]
) -> None:
    """Store in the snapshots of other merges which data the primary keeps because of them.

    Otherwise, the undo of the last of these merges would not remove this data from the primary.
    """
    for merge_id, snapshot in hand_over_additions(undone, others).items():
        statement = update(ContactMerge).where(ContactMerge.id == merge_id)
        await uow.session.execute(statement.values(snapshot=snapshot.model_dump(mode="json")))


async def fetch_undoable_merges(session: AsyncSession, *, primary_id: UUID) -> list[ContactMerge]:
    """Fetch the merges into this primary contact, oldest first.

    A merge is left out if its snapshot (the data for an undo) is no longer stored.
    """
    statement = (
        select(ContactMerge)
        .where(ContactMerge.primary_id == primary_id, ContactMerge.snapshot.is_not(None))
        .order_by(ContactMerge.merged_at, ContactMerge.id)
    )
    return list(await session.scalars(statement))
