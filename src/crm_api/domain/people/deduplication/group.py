"""Find the contacts to merge, and lock them.

A request may name a contact by the contact's own id, or by the id of a duplicate that was merged
into the contact before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.contacts.errors import ContactNotFoundError
from crm_api.domain.people.deduplication.errors import (
    ContactsChangedError,
    UnknownDuplicatesError,
)
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork

_TRIES = 10
"""The largest number of tries to lock the contacts.

A try fails only if another transaction changes the contacts.
"""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Contacts to merge, whose rows are locked.

    Attributes:
        primary: The contact that remains after the merge.
        duplicates: The contacts that are merged into ``primary`` now.
        aliases: The duplicates of earlier merges. Each key is the id of a duplicate. Each value has
            two parts: the id of the contact into which the duplicate was merged, and the
            duplicate's phone number.
    """

    primary: Contact
    duplicates: list[Contact]
    aliases: dict[UUID, tuple[UUID, str]]

    @property
    def contacts(self) -> list[Contact]:
        """The contacts that this merge joins, the primary first."""
        return [self.primary, *self.duplicates]

    @property
    def heads(self) -> dict[UUID, UUID]:
        """The ids of the contacts to merge, by their own ids and the ids of earlier duplicates.

        Example: if ``b`` was merged into the contact ``a`` before, the result has ``a: a`` and
        ``b: a``.
        """
        own = {one.id: one.id for one in self.contacts}
        return own | {alias_id: head for alias_id, (head, _) in self.aliases.items()}

    @property
    def phones(self) -> list[str]:
        """The phone numbers of the contacts to merge, then those of earlier duplicates.

        The field ``aliases`` contains the duplicates of earlier merges.
        """
        own = [one.phone for one in self.contacts]
        return own + [phone for _, phone in self.aliases.values()]


async def lock_group(uow: UnitOfWork, primary_id: UUID, duplicate_ids: Sequence[UUID]) -> Group:
    """Find and lock the contact that is kept by a merge (the primary), and its duplicates.

    Raises:
        ContactNotFoundError: The primary does not exist or was deleted.
        UnknownDuplicatesError: Some duplicates do not exist or were deleted.
        ContactsChangedError: At each try, another request changed the contacts before they were
            locked.
    """
    for _ in range(_TRIES):
        heads = await find_heads(uow.session, ids={primary_id, *duplicate_ids})
        if primary_id not in heads:
            raise ContactNotFoundError(
                "No contact has the id in `primary_id`. GET /v1/contacts lists the contacts."
            )
        unknown = [index for index, one in enumerate(duplicate_ids) if one not in heads]
        if unknown:
            raise UnknownDuplicatesError(unknown)
        async with uow.session.begin_nested() as attempt:
            group = await _lock_all(uow, heads, primary_id, duplicate_ids)
            if group is not None:
                return group
            # All locks are released, because the next try must lock the contacts again in the same
            # order.
            await attempt.rollback()
    raise ContactsChangedError


async def _lock_all(
    uow: UnitOfWork, heads: dict[UUID, UUID], primary_id: UUID, duplicate_ids: Sequence[UUID]
) -> Group | None:
    """Lock the contacts and their earlier duplicates.

    Return None if one of the contacts or duplicates was changed before it was locked.
    """
    wanted = {*heads.values()}
    rows = await lock_contacts(uow.session, ids=wanted)
    live = {row.id: row for row in rows if row.deleted_at is None and row.id in wanted}
    aliases = {row.id: (row.merged_into, row.phone) for row in rows if row.merged_into in wanted}
    if live.keys() != wanted or aliases.keys() != await find_aliases(uow.session, ids=wanted):
        return None
    primary = live[heads[primary_id]]
    named = dict.fromkeys(heads[one] for one in duplicate_ids)
    return Group(
        primary=primary,
        duplicates=[live[one] for one in named if one != primary.id],
        aliases={one: (head, phone) for one, (head, phone) in aliases.items() if head is not None},
    )


async def find_heads(session: AsyncSession, *, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Find the contact to which each of the given ids belongs.

    The id of a duplicate belongs to the contact that the duplicate was merged into. The result has
    the given ids as keys, and the ids of the contacts as values. Missing and deleted contacts are
    left out.
    """
    statement = select(Contact.id, Contact.merged_into).where(
        Contact.id.in_(ids), or_(Contact.deleted_at.is_(None), Contact.merged_into.is_not(None))
    )
    return {row.id: row.merged_into or row.id for row in await session.execute(statement)}


async def lock_contacts(session: AsyncSession, *, ids: Collection[UUID]) -> list[Contact]:
    """Lock contacts and the duplicates merged into them, in the order of their phone numbers.

    Deleted contacts are locked too. The lock also blocks transactions that add a message, so that
    no message is added to a duplicate while its messages are moved.
    """
    statement = (
        select(Contact)
        .where(or_(Contact.id.in_(ids), Contact.merged_into.in_(ids)))
        .order_by(Contact.phone)
        .with_for_update()
    )
    rows = await session.scalars(statement.execution_options(populate_existing=True))
    return list(rows)


async def find_aliases(session: AsyncSession, *, ids: Collection[UUID]) -> set[UUID]:
    """Fetch the ids of the duplicates that were merged into these contacts."""
    return set(await session.scalars(select(Contact.id).where(Contact.merged_into.in_(ids))))


async def point_aliases(
    session: AsyncSession, *, ids: Collection[UUID], to: UUID, only_of: UUID | None = None
) -> None:
    """Store that the given duplicates are now merged into the contact ``to``.

    Args:
        ids: The ids of the duplicates.
        to: The id of the contact.
        only_of: The id of an earlier contact. If given, change only duplicates that are merged
            into this earlier contact.
    """
    statement = update(Contact).where(Contact.id.in_(ids)).values(merged_into=to)
    if only_of is not None:
        statement = statement.where(Contact.merged_into == only_of)
    await session.execute(statement)
