"""The contacts of a merge, found by any of their ids and locked in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.contacts.errors import ContactNotFoundError
from crm_api.domain.contacts.models import Contact
from crm_api.domain.merging import queries
from crm_api.domain.merging.errors import ContactsChangedError, UnknownDuplicatesError

_TRIES = 10
"""Each look that finds them changed is one in which somebody else has come to an end."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Contacts that are one person, their rows locked.

    Attributes:
        aliases: Id to contact and number, of what was merged into any of them before.
    """

    primary: Contact
    duplicates: list[Contact]
    aliases: dict[UUID, tuple[UUID, str]]

    @property
    def everybody(self) -> list[Contact]:
        """The primary first."""
        return [self.primary, *self.duplicates]

    @property
    def heads(self) -> dict[UUID, UUID]:
        """Of every id that is theirs the contact that answers for it."""
        own = {one.id: one.id for one in self.everybody}
        return own | {alias_id: head for alias_id, (head, _) in self.aliases.items()}

    @property
    def phones(self) -> list[str]:
        """All numbers, those of the contacts first."""
        own = [one.phone for one in self.everybody]
        return own + [phone for _, phone in self.aliases.values()]


async def lock_group(uow: UnitOfWork, primary_id: UUID, duplicate_ids: Sequence[UUID]) -> Group:
    """Find and lock who answers to these ids; looks again when that changed before the lock.

    Raises:
        ContactNotFoundError: The primary is not there, or was deleted.
        UnknownDuplicatesError: Some duplicates are not there, or were deleted.
        ContactsChangedError: They were merged or deleted by others again and again meanwhile.
    """
    for _ in range(_TRIES):
        heads = await queries.find_heads(uow.session, ids={primary_id, *duplicate_ids})
        if primary_id not in heads:
            raise ContactNotFoundError("No contact has the id of the primary.")
        unknown = [place for place, one in enumerate(duplicate_ids) if one not in heads]
        if unknown:
            raise UnknownDuplicatesError(unknown)
        async with uow.session.begin_nested() as attempt:
            group = await _lock_all(uow, heads, primary_id, duplicate_ids)
            if group is not None:
                return group
            # Nothing is kept locked, so that the next look can lock in order again.
            await attempt.rollback()
    raise ContactsChangedError("Others merge or delete these contacts now; try again.")


async def _lock_all(
    uow: UnitOfWork, heads: dict[UUID, UUID], primary_id: UUID, duplicate_ids: Sequence[UUID]
) -> Group | None:
    """Lock these contacts and their aliases; None when they have changed before that."""
    wanted = {*heads.values()}
    rows = await queries.lock_contacts(uow.session, ids=wanted)
    live = {row.id: row for row in rows if row.deleted_at is None and row.id in wanted}
    aliases = {row.id: (row.merged_into, row.phone) for row in rows if row.merged_into in wanted}
    if live.keys() != wanted or aliases.keys() != await queries.find_aliases(
        uow.session, ids=wanted
    ):
        return None
    primary = live[heads[primary_id]]
    named = dict.fromkeys(heads[one] for one in duplicate_ids)
    return Group(
        primary=primary,
        duplicates=[live[one] for one in named if one != primary.id],
        aliases={one: (head, phone) for one, (head, phone) in aliases.items() if head is not None},
    )
