"""Apply a batch of changes to contacts. Each item has the same effect as a separate request.

All contacts are locked first, in the order of their phone numbers. Changes are collected in memory.
They are written at the end, and before each item that changes a phone number.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.kit.errors import CrmError, InvalidError
from crm_api.domain.messaging.consent_decisions.erased_numbers import suppress_erased
from crm_api.domain.messaging.consent_decisions.flags import flags_of
from crm_api.domain.people.batch.loaded_contacts import Columns, LoadedContacts
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
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import recipients
from crm_api.domain.people.contacts.errors import BatchRacedError, InvalidItemError
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.custom_fields.attribute_checks import Definitions
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.phone_validation import service as phone_validation
from crm_api.platform.database import UnitOfWork

MOST_TRIES = 10


class _RacedError(Exception):
    """Another transaction added a contact with one of the batch's phone numbers.

    This happened after the batch had locked its contacts. ``apply`` then tries again.
    """


async def apply(
    uow: UnitOfWork, items: Sequence[Item | FaultyItem], *, now: datetime, secret: bytes
) -> list[Outcome]:
    """Apply the items in their order.

    An item with an error changes nothing, and the other items are still applied.

    Returns:
        The result of each item, with the contact as it was after that item.

    Raises:
        BatchRacedError: Nothing was stored: at each try, another request added a contact with a
            number of the batch.
    """
    phones = {phone for phone in _named(items)[1] if phone}
    await suppress_erased(uow, phones=phones, now=now, secret=secret)
    defined = await custom_fields.definitions(uow)
    for _ in range(MOST_TRIES):
        try:
            async with uow.session.begin_nested():
                outcomes = await _apply(uow, items, defined, now=now)
        except _RacedError:
            # Another transaction has just added a contact with a number of the batch. The contact
            # exists now, so the next try can lock it.
            continue
        return await _flagged(uow, outcomes, now=now)
    raise BatchRacedError


async def _apply(
    uow: UnitOfWork, items: Sequence[Item | FaultyItem], defined: Definitions, *, now: datetime
) -> list[Outcome]:
    loaded = LoadedContacts(definitions=defined, now=now)
    ids, phones = _named(items)
    await _lock(uow, loaded, contact_ids=ids, phones=phones)
    outcomes = []
    for index, item in enumerate(items):
        try:
            outcome = await _do(uow, loaded, item, now=now)
        except CrmError as error:
            outcome = Outcome(error=_at(index, item, error))
        outcomes.append(outcome)
    await _store(uow, loaded, now=now)
    return outcomes


async def _do(
    uow: UnitOfWork, loaded: LoadedContacts, item: Item | FaultyItem, *, now: datetime
) -> Outcome:
    match item:
        case FaultyItem():
            raise InvalidItemError(item.faults)
        case DeleteItem():
            loaded.delete(item.id)
            return Outcome(done=Done.DELETED)
        case CreateItem():
            row, done = loaded.create(item.contact), Done.CREATED
        case UpsertItem():
            holder = loaded.holder(item.contact.phone)
            if holder is None:
                row, done = loaded.begin(item.contact), Done.CREATED
            else:
                row, done = loaded.update(item.contact, contact_id=holder["id"]), Done.UPDATED
        case UpdateItem():
            known = loaded.find(item.id)
            if known is not None and _renumbers(item, known):
                return await _renumber(uow, loaded, item, old_phone=known["phone"], now=now)
            row, done = loaded.update(item.contact, contact_id=item.id), Done.UPDATED
    return Outcome(done=done, columns=row)


def _renumbers(item: UpdateItem, known: Columns) -> bool:
    is_given = "phone" in item.contact.model_fields_set
    return is_given and known["phone"] != item.contact.phone


async def _renumber(
    uow: UnitOfWork, loaded: LoadedContacts, item: UpdateItem, *, old_phone: str, now: datetime
) -> Outcome:
    await _store(uow, loaded, now=now)
    found = (
        await contact_changes.update_contact(uow, item.contact, contact_id=item.id, now=now)
    ).contact
    phones = {old_phone, found.phone}
    loaded.forget(contact_ids=[found.id], phones=phones)
    await _lock(uow, loaded, contact_ids={found.id}, phones=phones)
    return Outcome(done=Done.UPDATED, columns=loaded.find(item.id))


def _named(items: Sequence[Item | FaultyItem]) -> tuple[set[UUID], set[str]]:
    """Return the contact ids and the phone numbers that occur in the items."""
    ids: set[UUID] = set()
    phones: set[str] = set()
    for item in items:
        if isinstance(item, (UpdateItem, DeleteItem)):
            ids.add(item.id)
        if not isinstance(item, (DeleteItem, FaultyItem)):
            # In an update without a new number, the number is an empty string here. No contact has
            # an empty number, so the string finds nothing.
            phones.add(item.contact.phone)
    return ids, phones


async def _lock(
    uow: UnitOfWork,
    loaded: LoadedContacts,
    *,
    contact_ids: Collection[UUID],
    phones: Collection[str],
) -> None:
    """Lock and load contacts; for duplicates, also the contacts that they were merged into."""
    while contact_ids or phones:
        loaded.load(await lock_contacts(uow.session, phones=phones, contact_ids=contact_ids))
        contact_ids, phones = loaded.unknown(), ()


async def _store(uow: UnitOfWork, loaded: LoadedContacts, *, now: datetime) -> None:
    """Write the changed contacts to the database.

    Raises:
        _RacedError: Another transaction added a contact with one of the new phone numbers.
    """
    if loaded.added:
        rows = loaded.in_lock_order(loaded.added)
        if await insert_contacts(uow.session, rows=rows) < len(rows):
            raise _RacedError
    if loaded.erased:
        await contact_changes.remove_belongings(
            uow.session, contact_ids=list(loaded.erased), now=now
        )
    if loaded.changed:
        await update_contacts(uow.session, rows=loaded.in_lock_order(loaded.changed))
    if loaded.erased:
        phones = [row["phone"] for row in loaded.in_lock_order(loaded.erased)]
        await recipients.skip_deleted_recipients(uow.session, phones=phones, now=now)
    moved = [row["phone"] for row in loaded.in_lock_order(loaded.moved - loaded.erased)]
    if moved:
        await recipients.copy_zone_keys(uow.session, phones=moved, now=now)
    loaded.clean()


async def _flagged(uow: UnitOfWork, outcomes: Sequence[Outcome], *, now: datetime) -> list[Outcome]:
    """Add data about the phone numbers of the contacts to the results of the items.

    The added data is the active flags (such as ``opted_out``) and the line type (such as
    ``mobile``) of each number.
    """
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
    """Make the JSON pointers in an item's error valid for the whole request; return the error.

    The pointers of a ``FaultyItem`` begin at the item. Those of other items begin at the contact:
    ``/phone`` becomes ``/items/0/contact/phone``.
    """
    if isinstance(error, InvalidError):
        start = f"/items/{index}" if isinstance(item, FaultyItem) else f"/items/{index}/contact"
        error.errors = [replace(fault, pointer=f"{start}{fault.pointer}") for fault in error.errors]
    return error


_ROW = tuple(column for column in Contact.__table__.c if column.name != "search_text")


_IS_WANTED = text(
    "contact.phone = ANY(CAST(:phones AS text[])) OR contact.id = ANY(CAST(:ids AS uuid[]))"
)


LOCK_CONTACTS = (
    select(*_ROW).where(_IS_WANTED).order_by(Contact.phone).with_for_update(key_share=True)
)


async def lock_contacts(
    session: AsyncSession, *, phones: Collection[str], contact_ids: Collection[UUID]
) -> list[Columns]:
    """Lock the contacts with these phone numbers or ids, and return their rows.

    The rows are ordered by phone number. Deleted contacts and merged duplicates are included.
    """
    values = {"phones": list(phones), "ids": list(contact_ids)}
    found = await session.execute(LOCK_CONTACTS, values)
    return [dict(row) for row in found.mappings()]


_TEXTS = ", ".join(TEXT_COLUMNS)


_RECORD = f"""
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, phone text,
        {", ".join(f"{name} text" for name in TEXT_COLUMNS)}, zone_key text, tags jsonb,
        attributes jsonb, source text, created_at timestamptz, updated_at timestamptz,
        deleted_at timestamptz)
"""


INSERT_CONTACTS = text(f"""
    INSERT INTO contact (id, phone, {_TEXTS}, zone_key, tags, attributes, source, created_at,
        updated_at, deleted_at)
    SELECT id, phone, {_TEXTS}, zone_key, ARRAY(SELECT jsonb_array_elements_text(r.tags)),
        attributes, source, created_at, updated_at, deleted_at
    FROM {_RECORD}
    ORDER BY phone
    ON CONFLICT (phone) DO NOTHING RETURNING id
""")


async def insert_contacts(session: AsyncSession, *, rows: Sequence[Columns]) -> int:
    """Insert contacts whose phone number is not stored yet; return how many were inserted."""
    made = await session.execute(INSERT_CONTACTS, {"rows": _json(rows)})
    return len(made.all())


UPDATE_CONTACTS = text(f"""
    UPDATE contact c
    SET {", ".join(f"{name} = r.{name}" for name in TEXT_COLUMNS)}, zone_key = r.zone_key,
        tags = ARRAY(SELECT jsonb_array_elements_text(r.tags)), attributes = r.attributes,
        source = r.source, created_at = r.created_at, updated_at = r.updated_at,
        deleted_at = r.deleted_at
    FROM {_RECORD}
    WHERE c.id = r.id
""")


async def update_contacts(session: AsyncSession, *, rows: Sequence[Columns]) -> None:
    """Write all columns of these contacts except their phone numbers."""
    await session.execute(UPDATE_CONTACTS, {"rows": _json(rows)})


def _json(rows: Sequence[Columns]) -> str:
    return json.dumps(rows, default=str)
