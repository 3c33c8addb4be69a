"""Taking a merge apart again: what was each one's goes back, what was edited since stays.

Consent is never loosened: what was put on the numbers by the merge, and since, stays on each.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.contacts.models import Contact
from crm_api.domain.merging import candidate_queries, child_queries, member_queries, queries
from crm_api.domain.merging.errors import (
    MergeNotFoundError,
    MergeNotUndoableError,
    MergeUndoneError,
)
from crm_api.domain.merging.folding import Values, content_of, unfold
from crm_api.domain.merging.models import ContactMerge
from crm_api.domain.merging.snapshot import DuplicateBefore, Snapshot
from crm_api.domain.operations import service as operations
from crm_api.domain.sends import service as sends
from crm_api.domain.zones import zone_key


async def undo(uow: UnitOfWork, *, merge_id: UUID, actor: str, now: datetime) -> ContactMerge:
    """Bring the duplicates of a merge back.

    With them come their fields, lists, notes, conversations, the texts that came to their numbers
    since, and what waits for them in campaigns unless it was sent meanwhile.

    Raises:
        MergeNotFoundError: There is no merge with this id.
        MergeUndoneError: It was undone before.
        MergeNotUndoableError: The person was deleted, merged again, or changed numbers since.
    """
    merge = await queries.find_merge(uow.session, merge_id=merge_id)
    if merge is None:
        raise MergeNotFoundError("There is no merge with this id.")
    # The contacts first, in the order in which a merge takes its locks.
    rows = await queries.lock_contacts(uow.session, ids={merge.primary_id, *merge.duplicate_ids})
    locked = await queries.lock_merge(uow.session, merge_id=merge_id)
    snapshot = _undoable(locked or merge, {row.id: row for row in rows})
    people = {row.id: row for row in rows}
    primary = people[merge.primary_id]
    numbers = [primary.phone, *(one.phone for one in snapshot.duplicates)]
    await member_queries.lock_campaigns(uow.session, phones=numbers)
    await sends.free_claims(uow, phones=numbers, now=now)
    others = await _other_duplicates(uow, primary.id, merge_id=merge_id)
    for one in snapshot.duplicates:
        elsewhere = [*others, *(twin for twin in snapshot.duplicates if twin.id != one.id)]
        theirs = [member_id for twin in elsewhere for member_id in twin.member_ids]
        kept_ids = [*snapshot.member_ids, *theirs]
        await _bring_back(uow, one, kept_ids, primary=primary, now=now)
    await _restore_primary(uow, primary, snapshot, others, now=now)
    await candidate_queries.dismiss_pairs(
        uow.session, one=primary.id, others=merge.duplicate_ids, actor=actor, now=now
    )
    await operations.audit(
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
    return await queries.note_undone(uow.session, merge_id=merge_id, actor=actor, now=now)


def _undoable(merge: ContactMerge, people: dict[UUID, Contact]) -> Snapshot:
    if merge.undone_at is not None:
        raise MergeUndoneError("This merge was undone before.")
    primary = people.get(merge.primary_id)
    if primary is not None and primary.merged_into is not None:
        raise MergeNotUndoableError(
            "The contact was merged into another one since; undo that merge first.",
            reason="merged_again",
            contact_id=str(primary.merged_into),
        )
    if merge.snapshot is None or primary is None or primary.deleted_at is not None:
        raise MergeNotUndoableError(
            "The contact was deleted since, and what was known of it with it.",
            reason="contact_deleted",
        )
    snapshot = Snapshot.model_validate(merge.snapshot)
    for one in snapshot.duplicates:
        row = people.get(one.id)
        if row is None or row.merged_into != primary.id or row.phone != one.phone:
            raise MergeNotUndoableError(
                "The number of a duplicate belongs to somebody else now.", reason="number_changed"
            )
    return snapshot


async def _bring_back(
    uow: UnitOfWork,
    one: DuplicateBefore,
    kept_ids: Sequence[UUID],
    *,
    primary: Contact,
    now: datetime,
) -> None:
    session, zone = uow.session, _zone(one.phone, one.content)
    values = {
        **one.content,
        "zone_key": zone,
        "updated_at": now,
        "deleted_at": None,
        "merged_into": None,
    }
    await queries.write_contact(session, contact_id=one.id, values=values)
    await queries.point_aliases(session, ids=one.alias_ids, to=one.id, only_of=primary.id)
    await child_queries.return_children(
        session,
        of=primary.id,
        to=one.id,
        phone=one.phone,
        conversation_ids=one.conversation_ids,
        note_ids=one.note_ids,
    )
    lists = [(membership.list_id, membership.added_at) for membership in one.lists]
    await child_queries.return_lists(session, to=one.id, lists=lists)
    properties = [(place.property_id, place.role, place.added_at) for place in one.properties]
    await child_queries.return_properties(session, to=one.id, properties=properties)
    await member_queries.add_zone(session, campaign_ids=one.campaign_ids, zone_key=zone)
    back = await member_queries.return_members(
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
    await sends.derive_members(uow, membership_ids=back, now=now)


async def _restore_primary(
    uow: UnitOfWork,
    primary: Contact,
    snapshot: Snapshot,
    others: Sequence[DuplicateBefore],
    *,
    now: datetime,
) -> None:
    """Take from the primary what the merge gave it, but not what another one gave it too."""
    changes = unfold(
        content_of(primary), snapshot.before, snapshot.after, [one.content for one in others]
    )
    lists = {membership.list_id for one in others for membership in one.lists}
    properties = {place.property_id for one in others for place in one.properties}
    await child_queries.leave(
        uow.session,
        contact_id=primary.id,
        list_ids=set(snapshot.joined_list_ids) - lists,
        property_ids=set(snapshot.joined_property_ids) - properties,
    )
    if changes:
        zone = _zone(primary.phone, content_of(primary) | changes)
        values = {**changes, "zone_key": zone, "updated_at": now}
        await queries.write_contact(uow.session, contact_id=primary.id, values=values)
        await contacts.follow_places(uow, phones=[primary.phone], now=now)


async def _other_duplicates(
    uow: UnitOfWork, primary_id: UUID, *, merge_id: UUID
) -> Sequence[DuplicateBefore]:
    merges = await queries.standing_merges(uow.session, primary_id=primary_id)
    return [
        duplicate
        for merge in merges
        if merge.id != merge_id
        for duplicate in Snapshot.model_validate(merge.snapshot).duplicates
    ]


def _zone(phone: str, values: Values) -> str:
    return zone_key(
        timezone=values["timezone"],
        state=values["state"],
        postal_code=values["postal_code"],
        phone=phone,
    )
