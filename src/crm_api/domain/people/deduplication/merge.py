"""Merge duplicates into a primary contact in one transaction.

A merge locks rows in this order: the contacts by phone number, the consent decisions about these
numbers, the campaigns, the recipients.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.consent.models import SUPPRESSING_FLAGS, ConsentSource, FlagType
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import ends_of_flag, flags_of
from crm_api.domain.messaging.consent_decisions.suppression import suppress_numbers
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.people.contacts import recipients
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.changes import write_contact
from crm_api.domain.people.contacts.schemas import FlaggedContact
from crm_api.domain.people.deduplication import belongings, candidates, recipient_moves
from crm_api.domain.people.deduplication.errors import MergeWithItselfError
from crm_api.domain.people.deduplication.field_merge import (
    DuplicateBefore,
    ListMembership,
    PropertyPlace,
    Snapshot,
    Values,
    content_of,
    merge_fields,
)
from crm_api.domain.people.deduplication.group import Group, lock_group, point_aliases
from crm_api.domain.people.deduplication.tracks import Member, TrackVerdict, judge_tracks
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

REASON = "merged with a contact that has this flag"


async def share_consent(
    uow: UnitOfWork,
    people: Sequence[Contact],
    phones: Sequence[str],
    *,
    merge_id: UUID,
    actor: str,
    secret: bytes,
    now: datetime,
) -> None:
    """Copy flags that stop messages, such as an opt-out, to all phone numbers of merged contacts.

    The flags of ``people`` are copied to every number in ``phones``. ``phones`` may also contain
    numbers of earlier duplicates; the flags of these numbers are not copied. If one of ``people``
    has opted out, the opt-out is copied, and the flag ``opt_out_hold`` is not copied. If several of
    ``people`` have ``do_not_contact``, the flag with the latest end is copied.
    """
    await _share_do_not_contact(uow, people, phones, now=now)
    flags = await flags_of(uow.session, phones, now=now)
    wanted = {flag for one in people for flag in flags[one.phone] if flag in SUPPRESSING_FLAGS}
    wanted.discard(FlagType.DO_NOT_CONTACT)
    if FlagType.OPTED_OUT in wanted:
        wanted.discard(FlagType.OPT_OUT_HOLD)
    sources = {flag: [one.phone for one in people if flag in flags[one.phone]] for flag in wanted}
    for flag in sorted(wanted):
        for phone in sorted(phones):
            if flag not in flags[phone]:
                await consent.add_flag(
                    uow,
                    flag=flag,
                    expires_at=None,
                    phone=phone,
                    contact_id=people[0].id,
                    source=ConsentSource.API,
                    actor=actor,
                    reason=REASON,
                    evidence={"merge_id": str(merge_id), "numbers": sources[flag]},
                    now=now,
                    secret=secret,
                )


async def _share_do_not_contact(
    uow: UnitOfWork, people: Sequence[Contact], phones: Sequence[str], *, now: datetime
) -> None:
    own = [one.phone for one in people]
    ends = await ends_of_flag(uow.session, own, flag=FlagType.DO_NOT_CONTACT, now=now)
    if not ends:
        return
    known = [end for end in ends if end is not None]
    latest = max(known) if len(known) == len(ends) else None
    await suppress_numbers(uow, phones=phones, reason=REASON, expires_at=latest, now=now)


async def merge_contacts(
    uow: UnitOfWork,
    *,
    primary_id: UUID,
    duplicate_ids: Sequence[UUID],
    actor: str,
    secret: bytes,
    now: datetime,
) -> tuple[FlaggedContact, ContactMerge | None]:
    """Merge duplicates into the primary contact.

    After the merge, a look-up by a duplicate's id or number returns the primary. A given id may
    belong to a duplicate of an earlier merge. Then the contact into which this duplicate was
    merged is used.

    Returns:
        The primary contact, and the merge. The merge is None if all ids already belong to one
        contact.

    Raises:
        ContactNotFoundError: The primary does not exist or was deleted.
        UnknownDuplicatesError: Some duplicates do not exist or were deleted.
        MergeWithItselfError: The primary's id is one of ``duplicate_ids``.
        ContactsChangedError: Other requests changed the contacts at each try.
    """
    if primary_id in duplicate_ids:
        raise MergeWithItselfError(list(duplicate_ids).index(primary_id))
    group = await lock_group(uow, primary_id, duplicate_ids)
    made = None
    if group.duplicates:
        made = await _merge(uow, group, actor=actor, secret=secret, now=now)
    return await contacts.get_contact(uow, contact_id=group.primary.id, now=now), made


async def _merge(
    uow: UnitOfWork, group: Group, *, actor: str, secret: bytes, now: datetime
) -> ContactMerge:
    primary, merge_id = group.primary, new_id()
    before = content_of(primary)
    after = merge_fields(before, [content_of(one) for one in group.duplicates])
    zone = zone_key_of({**after, "phone": primary.phone})
    await consent.lock_decisions(uow, phones=group.phones)
    campaign_ids = await recipient_moves.lock_campaigns(uow.session, phones=group.phones)
    await recipient_moves.add_zone(uow.session, campaign_ids=campaign_ids, zone_key=zone)
    await share_consent(
        uow, group.contacts, group.phones, merge_id=merge_id, actor=actor, secret=secret, now=now
    )
    await sends.release_campaign_claims(uow, phones=group.phones, now=now)
    members, verdict = await _decide_recipients(uow, group, campaign_ids, zone=zone, now=now)
    snapshot = await _move(uow, group, before=before, after=after)
    _record_moved_recipients(snapshot, group, members, verdict)
    await _write(uow, group, after=after, zone=zone, now=now)
    await sends.derive_moved_recipients(uow, membership_ids=verdict.following, now=now)
    await note_decision(
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
    statement = insert(ContactMerge).values(
        id=merge_id,
        primary_id=primary.id,
        duplicate_ids=[one.id for one in group.duplicates],
        snapshot=snapshot.model_dump(mode="json"),
        merged_by=actor,
        merged_at=now,
    )
    return (await uow.session.scalars(statement.returning(ContactMerge))).one()


async def _decide_recipients(
    uow: UnitOfWork, group: Group, campaign_ids: Sequence[UUID], *, zone: str, now: datetime
) -> tuple[list[Member], TrackVerdict]:
    """Decide for each campaign which of the merged contacts still gets messages.

    The recipients are updated accordingly.

    Returns:
        All recipients of the contacts, and what was decided for them.
    """
    members = await recipient_moves.lock_members(
        uow.session,
        campaign_ids=campaign_ids,
        contact_ids=list(group.heads),
        phones=group.phones,
    )
    verdict = judge_tracks(
        members,
        heads=group.heads,
        order=[one.id for one in group.contacts],
        phone=group.primary.phone,
    )
    await recipient_moves.apply_verdict(
        uow.session,
        verdict,
        contact_id=group.primary.id,
        phone=group.primary.phone,
        zone_key=zone,
        now=now,
    )
    return members, verdict


async def _move(uow: UnitOfWork, group: Group, *, before: Values, after: Values) -> Snapshot:
    """Move the data of the duplicates to the primary; return the data that an undo needs."""
    ids = [one.id for one in group.duplicates]
    before_merge = {
        one.id: DuplicateBefore(id=one.id, phone=one.phone, content=content_of(one))
        for one in group.duplicates
    }
    for row in await belongings.find_children(uow.session, ids=ids):
        _add_belonging(before_merge[row.contact_id], row)
    lists, properties = await belongings.move_children(uow.session, ids=ids, to=group.primary.id)
    for alias_id, (head, _) in group.aliases.items():
        if head in before_merge:
            before_merge[head].alias_ids.append(alias_id)
    return Snapshot(
        before=before,
        after=after,
        joined_list_ids=lists,
        joined_property_ids=properties,
        duplicates=list(before_merge.values()),
    )


def _add_belonging(duplicate: DuplicateBefore, row: belongings.Belonging) -> None:
    if row.kind == "list":
        duplicate.lists.append(ListMembership(list_id=row.id, added_at=row.added_at))
    elif row.kind == "property":
        link = PropertyPlace(
            property_id=row.id, role=row.role, import_id=row.import_id, added_at=row.added_at
        )
        duplicate.properties.append(link)
    else:
        getattr(duplicate, f"{row.kind}_ids").append(row.id)


def _record_moved_recipients(
    snapshot: Snapshot, group: Group, members: Sequence[Member], verdict: TrackVerdict
) -> None:
    """Store which campaign recipients belonged to which contact before the merge.

    For each duplicate, the snapshot gets the ids of the recipients that the merge moved to the
    primary. It also gets the ids of the primary's own recipients in the same campaigns, and the
    recipients that the merge skipped.
    """
    skipped = set(verdict.skipped)
    snapshot.skipped = {row.id: row.status for row in members if row.id in skipped}
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
    """Write the merged values to the primary; clear the duplicates, and mark them as merged."""
    primary = group.primary
    old_zone = primary.zone_key
    await write_contact(
        uow.session, contact_id=primary.id, values={**after, "zone_key": zone, "updated_at": now}
    )
    for one in group.duplicates:
        blank: Values = {**dict.fromkeys(after), "tags": [], "attributes": {}}
        values = {
            **blank,
            "zone_key": zone_key_of({**blank, "phone": one.phone}),
            "updated_at": now,
            "deleted_at": now,
            "merged_into": primary.id,
        }
        await write_contact(uow.session, contact_id=one.id, values=values)
    await point_aliases(uow.session, ids=list(group.aliases), to=primary.id)
    gone = [one.id for one in group.duplicates]
    await candidates.forget_candidates(uow.session, contact_ids=gone)
    if zone != old_zone:
        await recipients.copy_zone_keys(uow.session, phones=[primary.phone], now=now)
