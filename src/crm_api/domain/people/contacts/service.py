"""Find, lock and list contacts with the flags of their phone numbers."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, Uuid, any_, bindparam, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page, TimePosition
from crm_api.domain.kit.phone import parse_phone
from crm_api.domain.people.contacts import search
from crm_api.domain.people.contacts.errors import ContactNotFoundError
from crm_api.domain.people.contacts.flagged import (
    ALIAS,
    fetch_flagged,
    flagged_columns,
    head_of,
    select_flagged,
)
from crm_api.domain.people.contacts.schemas import ContactFilter, ContactSort, FlaggedContact
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactListMember
from crm_api.platform.database import UnitOfWork


async def get_contact(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> FlaggedContact:
    """Return a contact. The id may also be that of a duplicate that was merged into the contact.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    statement = select_flagged(now).where(Contact.id == head_of(ALIAS.id == contact_id))
    found = await fetch_flagged(uow.session, statement)
    if not found:
        raise ContactNotFoundError
    return found[0]


async def get_contacts(
    uow: UnitOfWork, *, contact_ids: Collection[UUID], now: datetime
) -> list[FlaggedContact]:
    """Return contacts in the order of the given ids; leave out missing and deleted contacts."""
    statement = select_flagged(now).where(
        Contact.id == any_(bindparam("ids", list(contact_ids), ARRAY(Uuid())))
    )
    found = {one.contact.id: one for one in await fetch_flagged(uow.session, statement)}
    return [found[contact_id] for contact_id in contact_ids if contact_id in found]


async def get_contact_by_phone(uow: UnitOfWork, *, phone: str, now: datetime) -> FlaggedContact:
    """Return the contact with this phone number. The number may have any usual format.

    Raises:
        InvalidPhoneError: The text is not a phone number.
        ContactNotFoundError: No contact has the number, or the contact was deleted.
    """
    found = await find_contact_by_phone(uow.session, phone=parse_phone(phone), now=now)
    if found is None:
        raise ContactNotFoundError(
            "No contact has this number. GET /v1/contacts lists the contacts."
        )
    return found


async def find_contact_by_phone(
    session: AsyncSession, *, phone: str, now: datetime
) -> FlaggedContact | None:
    """Fetch the contact with this phone number; None if no contact has the number.

    For the number of a duplicate, return the contact that the duplicate was merged into.
    """
    found = await fetch_flagged(
        session, select_flagged(now).where(Contact.id == head_of(ALIAS.phone == phone))
    )
    return found[0] if found else None


async def lock_contact(uow: UnitOfWork, *, contact_id: UUID) -> Contact:
    """Lock a contact until the transaction ends, and return it.

    For a merged duplicate, lock and return the contact that it was merged into. While the lock is
    held, no worker begins to send a message to the phone number.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    statement = (
        select(Contact)
        .where(Contact.id == head_of(ALIAS.id == contact_id), Contact.deleted_at.is_(None))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    contact = await uow.session.scalar(statement)
    if contact is None:
        # The contact may have been merged into another contact while the statement waited for the
        # lock. The second run of the statement finds that other contact.
        contact = await uow.session.scalar(statement)
    if contact is None:
        raise ContactNotFoundError
    return contact


async def fetch_numbers(session: AsyncSession, *, contact_id: UUID) -> list[str]:
    """Fetch the phone numbers of a contact and of the duplicates that were merged into it."""
    own = select(Contact.phone).where(Contact.id == contact_id)
    merged = select(Contact.phone).where(Contact.merged_into == contact_id)
    return list(await session.scalars(own.union_all(merged)))


async def list_contacts(
    uow: UnitOfWork,
    wanted: ContactFilter,
    *,
    sort: ContactSort = ContactSort.NEWEST,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[FlaggedContact]:
    """List the contacts that match a filter.

    Raises:
        UnsearchableError: ``q`` has no letter and no digit.
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("contacts", wanted=wanted, sort=sort)
    order = search.ORDERS[sort]
    begun = search.Search.of(wanted, order, now=now)
    after = cursors.read_text(cursor) if order.is_text else cursors.read(cursor)
    rows = await search.fetch_contacts(uow.session, begun.continued(after), limit=limit + 1)
    return cursors.page(
        rows,
        limit=limit,
        position=lambda row: (getattr(row.contact, order.column), row.contact.id),
    )


async def list_members(
    uow: UnitOfWork, *, list_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[FlaggedContact]:
    """List the contacts on a list; the contact that was added last comes first.

    The caller must check that the list exists.

    Raises:
        InvalidCursorError: The cursor is from another listing.
    """
    cursors = Cursors("list_members", list_id=list_id)
    after = cursors.read(cursor)
    rows = await fetch_list_members(
        uow.session, list_id=list_id, after=after, limit=limit + 1, now=now
    )
    page = cursors.page(rows, limit=limit, position=lambda row: (row[1], row[0].contact.id))
    return Page([found for found, _ in page.data], page.next_cursor)


async def fetch_list_members(
    session: AsyncSession, *, list_id: UUID, after: TimePosition | None, limit: int, now: datetime
) -> list[tuple[FlaggedContact, datetime]]:
    """Fetch up to ``limit`` contacts of a list, and when each contact was added to the list.

    The contact that was added last comes first.
    """
    # Join only the contacts of the page. Deleted contacts need no check, because they are not on
    # any list. With such a check and without statistics, PostgreSQL expects few contacts. It then
    # reads all contacts and looks up each of them in the list, which takes 1.4 s for a million
    # contacts.
    page = _member_ids(list_id, after=after, limit=limit).subquery("page")
    statement = (
        select(*flagged_columns(Contact, now), page.c.added_at)
        .join(page, page.c.contact_id == Contact.id)
        .order_by(page.c.added_at.desc(), page.c.contact_id.desc())
    )
    rows = await session.execute(statement.execution_options(populate_existing=True))
    return [(FlaggedContact(row[0], list(row.flags), row.line_type), row.added_at) for row in rows]


async def fetch_list_member_ids(
    session: AsyncSession, *, list_id: UUID, after: TimePosition | None, limit: int
) -> list[tuple[datetime, UUID]]:
    """Return the ids of contacts on a list, each with the time at which the contact was added.

    The contact that was added last comes first. At most ``limit`` contacts are returned.
    """
    rows = await session.execute(_member_ids(list_id, after=after, limit=limit))
    return [(row.added_at, row.contact_id) for row in rows]


def _member_ids(list_id: UUID, *, after: TimePosition | None, limit: int) -> Select[datetime, UUID]:
    member = ContactListMember
    statement = select(member.added_at, member.contact_id).where(member.list_id == list_id)
    if after is not None:
        statement = statement.where(tuple_(member.added_at, member.contact_id) < after)
    return statement.order_by(member.added_at.desc(), member.contact_id.desc()).limit(limit)
