"""Apply a batch of changes to contacts. Each item has the same effect as a request of its own.

All contacts of a batch are locked at once, in the order of their numbers. The items are applied in
memory, one after the other. Then one INSERT and one UPDATE write the differences. An item that
changes a contact's number is an exception: the changes before it are written first, and the item is
applied like a PATCH request, because a new number must also be written to the contact's recipients.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from crm_api.domain.kit.errors import CrmError, InvalidError
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.messaging.consent_decisions.suppression import suppress_erased
from crm_api.domain.people.batch import queries as batch_queries
from crm_api.domain.people.batch.schemas import (
    CreateItem,
    DeleteItem,
    Done,
    FaultyItem,
    Item,
    Outcome,
    UpdateItem,
    UpsertItem,
)
from crm_api.domain.people.batch.world import Columns, World
from crm_api.domain.people.contacts import queries, recipients, service
from crm_api.domain.people.contacts.errors import RACED, BatchRacedError, InvalidItemError
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.custom_fields.definitions import Definitions
from crm_api.domain.people.phone_validation import service as phone_validation
from crm_api.platform.database import UnitOfWork

MOST_TRIES = 10


class _RacedError(Exception):
    """Another transaction inserted a number of the batch after the batch had locked its rows."""


async def apply(
    uow: UnitOfWork, items: Sequence[Item | FaultyItem], *, now: datetime, secret: bytes
) -> list[Outcome]:
    """Apply the items in their order. An item with an error changes nothing; the others go on.

    Returns:
        The result of each item, with the contact as it was after that item.

    Raises:
        BatchRacedError: Other requests added numbers of the batch during each attempt.
    """
    phones = {phone for phone in _named(items)[1] if phone}
    await suppress_erased(uow, phones=phones, now=now, secret=secret)
    defined = await custom_fields.definitions(uow)
    for _ in range(MOST_TRIES):
        try:
            async with uow.session.begin_nested():
                outcomes = await _apply(uow, items, defined, now=now)
        except _RacedError:
            # The row of the other transaction exists now, so the next attempt locks it.
            continue
        return await _flagged(uow, outcomes, now=now)
    raise BatchRacedError(RACED)


async def _apply(
    uow: UnitOfWork, items: Sequence[Item | FaultyItem], defined: Definitions, *, now: datetime
) -> list[Outcome]:
    world = World(definitions=defined, now=now)
    ids, phones = _named(items)
    await _lock(uow, world, contact_ids=ids, phones=phones)
    outcomes = []
    for index, item in enumerate(items):
        try:
            outcome = await _do(uow, world, item, now=now)
        except CrmError as error:
            outcome = Outcome(error=_at(index, item, error))
        outcomes.append(outcome)
    await _store(uow, world, now=now)
    return outcomes


async def _do(uow: UnitOfWork, world: World, item: Item | FaultyItem, *, now: datetime) -> Outcome:
    match item:
        case FaultyItem():
            raise InvalidItemError(item.faults)
        case DeleteItem():
            world.delete(item.id)
            return Outcome(done=Done.DELETED)
        case CreateItem():
            row, done = world.create(item.contact), Done.CREATED
        case UpsertItem():
            holder = world.holder(item.contact.phone)
            if holder is None:
                row, done = world.begin(item.contact), Done.CREATED
            else:
                row, done = world.update(item.contact, contact_id=holder["id"]), Done.UPDATED
        case UpdateItem():
            known = world.find(item.id)
            if known is not None and _renumbers(item, known):
                return await _renumber(uow, world, item, old_phone=known["phone"], now=now)
            row, done = world.update(item.contact, contact_id=item.id), Done.UPDATED
    return Outcome(done=done, columns=row)


def _renumbers(item: UpdateItem, known: Columns) -> bool:
    is_given = "phone" in item.contact.model_fields_set
    return is_given and known["phone"] != item.contact.phone


async def _renumber(
    uow: UnitOfWork, world: World, item: UpdateItem, *, old_phone: str, now: datetime
) -> Outcome:
    await _store(uow, world, now=now)
    found = (await service.update_contact(uow, item.contact, contact_id=item.id, now=now)).contact
    phones = {old_phone, found.phone}
    world.forget(contact_ids=[found.id], phones=phones)
    await _lock(uow, world, contact_ids={found.id}, phones=phones)
    return Outcome(done=Done.UPDATED, columns=world.find(item.id))


def _named(items: Sequence[Item | FaultyItem]) -> tuple[set[UUID], set[str]]:
    """Return the contact ids and the numbers that occur in the items."""
    ids: set[UUID] = set()
    phones: set[str] = set()
    for item in items:
        if isinstance(item, (UpdateItem, DeleteItem)):
            ids.add(item.id)
        if not isinstance(item, (DeleteItem, FaultyItem)):
            # An update without a new number has an empty string here, which no contact has.
            phones.add(item.contact.phone)
    return ids, phones


async def _lock(
    uow: UnitOfWork, world: World, *, contact_ids: Collection[UUID], phones: Collection[str]
) -> None:
    """Lock contacts and load them, with the contacts that they were merged into."""
    while contact_ids or phones:
        world.learn(
            await batch_queries.lock_contacts(uow.session, phones=phones, contact_ids=contact_ids)
        )
        contact_ids, phones = world.unknown(), ()


async def _store(uow: UnitOfWork, world: World, *, now: datetime) -> None:
    """Write the changed contacts to the database.

    Raises:
        _RacedError: Another transaction added one of the new numbers.
    """
    if world.added:
        rows = world.pick(world.added)
        if await batch_queries.insert_contacts(uow.session, rows=rows) < len(rows):
            raise _RacedError
    if world.erased:
        phones = [row["phone"] for row in world.pick(world.erased)]
        await queries.remove_belongings(uow.session, contact_ids=list(world.erased))
        await recipients.skip_deleted_recipients(uow.session, phones=phones, now=now)
    if world.changed:
        await batch_queries.update_contacts(uow.session, rows=world.pick(world.changed))
    moved = [row["phone"] for row in world.pick(world.moved - world.erased)]
    if moved:
        await recipients.copy_zone_keys(uow.session, phones=moved, now=now)
    world.clean()


async def _flagged(uow: UnitOfWork, outcomes: Sequence[Outcome], *, now: datetime) -> list[Outcome]:
    """Return the results with the active flags and the line types of the contacts' numbers."""
    phones = sorted({one.columns["phone"] for one in outcomes if one.columns is not None})
    flags = await flags_of(uow.session, phones, now=now) if phones else {}
    line_types = await phone_validation.read_line_types(uow, phones=phones)
    return [
        one
        if one.columns is None
        else replace(
            one,
            columns={**one.columns, "line_type": line_types.get(one.columns["phone"])},
            flags=sorted(flags[one.columns["phone"]]),
        )
        for one in outcomes
    ]


def _at(index: int, item: Item | FaultyItem, error: CrmError) -> CrmError:
    """Return the error with pointers that begin at the request instead of the item."""
    if isinstance(error, InvalidError):
        start = f"/items/{index}" if isinstance(item, FaultyItem) else f"/items/{index}/contact"
        error.errors = [replace(fault, pointer=f"{start}{fault.pointer}") for fault in error.errors]
    return error
