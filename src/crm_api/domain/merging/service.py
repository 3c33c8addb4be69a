"""Merging duplicates into one contact, in one transaction.

Locks in this order: the contacts by their numbers, the turns of consent, campaigns, memberships.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.contacts.schemas import FlaggedContact
from crm_api.domain.merging import (
    candidate_queries,
    child_queries,
    member_queries,
    queries,
    strictness,
)
from crm_api.domain.merging.errors import MergeNotFoundError, MergeWithItselfError
from crm_api.domain.merging.folding import Values, content_of, fold
from crm_api.domain.merging.group import Group, lock_group
from crm_api.domain.merging.models import ContactMerge
from crm_api.domain.merging.snapshot import (
    DuplicateBefore,
    ListMembership,
    PropertyPlace,
    Snapshot,
)
from crm_api.domain.merging.tracks import Member, Verdict, judge
from crm_api.domain.operations import service as operations
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.sends import service as sends
from crm_api.domain.zones import zone_key
from crm_api.ids import new_id


async def merge(
    uow: UnitOfWork,
    *,
    primary_id: UUID,
    duplicate_ids: Sequence[UUID],
    actor: str,
    secret: bytes,
    now: datetime,
) -> tuple[FlaggedContact, ContactMerge | None]:
    """Make duplicates one person with the primary; their ids and numbers answer for it then.

    An id that was merged before stands for what it was merged into.

    Returns:
        The primary and the merge; None when all of them were one person already.

    Raises:
        ContactNotFoundError: The primary is not there, or was deleted.
        UnknownDuplicatesError: Some duplicates are not there, or were deleted.
        MergeWithItselfError: The primary is among its duplicates.
        ContactsChangedError: They were merged or deleted by others again and again meanwhile.
    """
    if primary_id in duplicate_ids:
        raise MergeWithItselfError(list(duplicate_ids).index(primary_id))
    group = await lock_group(uow, primary_id, duplicate_ids)
    made = None
    if group.duplicates:
        made = await _merge(uow, group, actor=actor, secret=secret, now=now)
    return await contacts.get(uow, contact_id=group.primary.id, now=now), made


async def get(uow: UnitOfWork, *, merge_id: UUID) -> ContactMerge:
    """Fetch a merge.

    Raises:
        MergeNotFoundError: There is none with this id.
    """
    found = await queries.find_merge(uow.session, merge_id=merge_id)
    if found is None:
        raise MergeNotFoundError("There is no merge with this id.")
    return found


async def list_merges(
    uow: UnitOfWork, *, contact_id: UUID | None, cursor: str | None, limit: int
) -> Page[ContactMerge]:
    """List merges, newest first; those in which a contact was either side, or all.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("merges", contact_id=contact_id)
    rows = await queries.list_merges(
        uow.session,
        contact_id=contact_id,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.merged_at, row.id))


async def _merge(
    uow: UnitOfWork, group: Group, *, actor: str, secret: bytes, now: datetime
) -> ContactMerge:
    primary, merge_id = group.primary, new_id()
    before = content_of(primary)
    after = fold(before, [content_of(one) for one in group.duplicates])
    zone = _zone(primary.phone, after)
    await strictness.take_turns(uow, group.phones)
    campaign_ids = await member_queries.lock_campaigns(uow.session, phones=group.phones)
    await member_queries.add_zone(uow.session, campaign_ids=campaign_ids, zone_key=zone)
    await strictness.share(
        uow, group.everybody, group.phones, merge_id=merge_id, actor=actor, secret=secret, now=now
    )
    await sends.free_claims(uow, phones=group.phones, now=now)
    members, verdict = await _settle_campaigns(uow, group, campaign_ids, zone=zone, now=now)
    snapshot = await _move(uow, group, before=before, after=after)
    _note_tracks(snapshot, group, members, verdict)
    await _write(uow, group, after=after, zone=zone, now=now)
    await sends.derive_members(uow, membership_ids=verdict.following, now=now)
    await operations.audit(
        uow,
        actor=actor,
        action="merge_contacts",
        subject=str(primary.id),
        detail={
            "merge_id": str(merge_id),
            "duplicate_ids": [str(one.id) for one in group.duplicates],
        },
        now=now,
    )
    return await queries.insert_merge(
        uow.session,
        values={
            "id": merge_id,
            "primary_id": primary.id,
            "duplicate_ids": [one.id for one in group.duplicates],
            "snapshot": snapshot.model_dump(mode="json"),
            "merged_by": actor,
            "merged_at": now,
        },
    )


async def _settle_campaigns(
    uow: UnitOfWork, group: Group, campaign_ids: Sequence[UUID], *, zone: str, now: datetime
) -> tuple[list[Member], Verdict]:
    """Let one track of each campaign go on; all memberships, and what became of them."""
    members = await member_queries.lock_members(
        uow.session,
        campaign_ids=campaign_ids,
        contact_ids=list(group.heads),
        phones=group.phones,
    )
    verdict = judge(
        members,
        heads=group.heads,
        order=[one.id for one in group.everybody],
        phone=group.primary.phone,
    )
    await member_queries.apply_verdict(
        uow.session,
        verdict,
        contact_id=group.primary.id,
        phone=group.primary.phone,
        zone_key=zone,
        now=now,
    )
    return members, verdict


async def _move(uow: UnitOfWork, group: Group, *, before: Values, after: Values) -> Snapshot:
    """Give the primary what the duplicates have."""
    ids = [one.id for one in group.duplicates]
    kept = {
        one.id: DuplicateBefore(id=one.id, phone=one.phone, content=content_of(one))
        for one in group.duplicates
    }
    for row in await child_queries.find_children(uow.session, ids=ids):
        _keep(kept[row.contact_id], row)
    lists, properties = await child_queries.move_children(uow.session, ids=ids, to=group.primary.id)
    for alias_id, (head, _) in group.aliases.items():
        if head in kept:
            kept[head].alias_ids.append(alias_id)
    return Snapshot(
        before=before,
        after=after,
        joined_list_ids=lists,
        joined_property_ids=properties,
        duplicates=list(kept.values()),
    )


def _keep(kept: DuplicateBefore, row: Row[Any]) -> None:
    if row.kind == "conversation":
        kept.conversation_ids.append(row.id)
    elif row.kind == "note":
        kept.note_ids.append(row.id)
    elif row.kind == "list":
        kept.lists.append(ListMembership(list_id=row.id, added_at=row.added_at))
    else:
        place = PropertyPlace(property_id=row.id, role=row.role, added_at=row.added_at)
        kept.properties.append(place)


def _note_tracks(
    snapshot: Snapshot, group: Group, members: Sequence[Member], verdict: Verdict
) -> None:
    """Keep in the snapshot whose track of which campaign became the primary's."""
    given = {*verdict.moved, *verdict.following}
    for one in snapshot.duplicates:
        rows = [row for row in members if row.id in given and group.heads[row.contact_id] == one.id]
        one.member_ids = [row.id for row in rows]
        one.campaign_ids = sorted({row.campaign_id for row in rows})
    taken = {campaign_id for one in snapshot.duplicates for campaign_id in one.campaign_ids}
    snapshot.member_ids = [
        row.id for row in members if row.campaign_id in taken and row.contact_id == group.primary.id
    ]


async def _write(uow: UnitOfWork, group: Group, *, after: Values, zone: str, now: datetime) -> None:
    """Write the primary, and make the duplicates aliases of which nothing is known any more."""
    primary = group.primary
    old_zone = primary.zone_key
    await queries.write_contact(
        uow.session, contact_id=primary.id, values={**after, "zone_key": zone, "updated_at": now}
    )
    for one in group.duplicates:
        blank: Values = {**dict.fromkeys(after), "tags": [], "attributes": {}}
        values = {
            **blank,
            "zone_key": _zone(one.phone, blank),
            "updated_at": now,
            "deleted_at": now,
            "merged_into": primary.id,
        }
        await queries.write_contact(uow.session, contact_id=one.id, values=values)
    await queries.point_aliases(uow.session, ids=list(group.aliases), to=primary.id)
    gone = [one.id for one in group.duplicates]
    await candidate_queries.forget(uow.session, contact_ids=gone)
    if zone != old_zone:
        await contacts.follow_places(uow, phones=[primary.phone], now=now)


def _zone(phone: str, values: Values) -> str:
    return zone_key(
        timezone=values["timezone"],
        state=values["state"],
        postal_code=values["postal_code"],
        phone=phone,
    )
