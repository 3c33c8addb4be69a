"""Export contacts as CSV, in a format that the importer reads."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Select,
    SQLColumnExpression,
    Uuid,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import join

from crm_api.domain.consent.models import ContactFlag, FlagType
from crm_api.domain.kit import csv_export
from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.kit.csv_export import (
    cell,
    copy_rows,
    end_of_page,
    instant,
    row_id,
    truth,
    write_csv,
)
from crm_api.domain.kit.paging import TimePosition
from crm_api.domain.people.contacts.flagged import is_unexpired
from crm_api.domain.people.contacts.schemas import ContactFilter, ContactSort
from crm_api.domain.people.contacts.search import ORDERS, Position, Search
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactList, ContactListMember
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

HEADER = (
    *("id", "phone", *TEXT_COLUMNS, "tags", "lists"),
    *("opted_out", "opted_out_at", "opt_out_reason", "opt_out_hold", "do_not_contact", "flags"),
    *("source", "created_at", "updated_at"),
)
"""The columns of every export. One column for each attribute follows them."""

MOST_ATTRIBUTES = 300

_BETWEEN: ColumnElement[str] = literal_column("'; '")


def _ids(contact_ids: Sequence[UUID]) -> ColumnElement[list[UUID]]:
    return literal(list(contact_ids), ARRAY(Uuid()))


def _of_page(search: Search, end: Position | None) -> list[ColumnElement[bool]]:
    # The conditions on other tables are checked by a separate query for each contact. So only the
    # rows for the contacts of this page are read.
    found = [*search.span(), *search.conditions(Contact, one_by_one=True)]
    if end is not None:
        row_key = tuple_(search.order.key(Contact), Contact.id)
        found.append(row_key >= end if search.order.descending else row_key <= end)
    return found


def _columns(flags: FromClause, lists: FromClause) -> list[SQLColumnExpression[Any]]:
    written: dict[str, SQLColumnExpression[Any]] = {
        "id": row_id(Contact.id),
        "phone": Contact.phone,
        "tags": cell(func.array_to_string(Contact.tags, _BETWEEN)),
        "lists": cell(lists.c.lists),
        "opted_out": truth(flags.c.opted_out_at.is_not(None)),
        "opted_out_at": instant(flags.c.opted_out_at),
        "opt_out_reason": cell(flags.c.opt_out_reason),
        "opt_out_hold": truth(flags.c.opt_out_hold),
        "do_not_contact": truth(flags.c.do_not_contact),
        "flags": cell(flags.c.flags),
        "source": Contact.source,
        "created_at": instant(Contact.created_at),
        "updated_at": instant(Contact.updated_at),
        **{name: cell(getattr(Contact, name)) for name in TEXT_COLUMNS},
    }
    return [written[name].label(name) for name in HEADER]


def _lists() -> FromClause:
    """Select for each contact the names of the lists that the contact is on, joined by ``; ``."""
    return (
        select(_joined(ContactList.name).label("lists"))
        .select_from(ContactListMember)
        .join(ContactList, ContactList.id == ContactListMember.list_id)
        .where(ContactListMember.contact_id == Contact.id)
        .correlate(Contact)
        .lateral("on_lists")
    )


def _flags(now: datetime) -> FromClause:
    """Select one row for each contact: the active flags of the contact's phone number.

    If the number is opted out, the row also has the time and the reason of the opt-out.
    """
    flag = ContactFlag
    is_opt_out = flag.flag_type == FlagType.OPTED_OUT.value
    return (
        select(
            func.min(flag.created_at).filter(is_opt_out).label("opted_out_at"),
            func.min(flag.reason).filter(is_opt_out).label("opt_out_reason"),
            _has(FlagType.OPT_OUT_HOLD).label("opt_out_hold"),
            _has(FlagType.DO_NOT_CONTACT).label("do_not_contact"),
            _joined(flag.flag_type).label("flags"),
        )
        .where(flag.phone == Contact.phone, is_unexpired(now))
        .correlate(Contact)
        .lateral("flags")
    )


def _joined(column: SQLColumnExpression[str]) -> ColumnElement[str]:
    return func.string_agg(column, aggregate_order_by(_BETWEEN, column))


def _has(flag: FlagType) -> ColumnElement[bool]:
    return func.coalesce(func.bool_or(ContactFlag.flag_type == flag.value), false())


async def contacts_csv(
    new_uow: UnitOfWorkFactory, wanted: ContactFilter, *, sort: ContactSort, now: datetime
) -> AsyncIterator[bytes]:
    """Stream a CSV file of the contacts that match a filter.

    Up to 300 attributes have a column each, such as ``attributes.roof``. Their names are collected
    in a first pass over the contacts, before the stream begins.

    Raises:
        UnsearchableError: ``q`` has no letter and no digit.
    """
    begun = Search.of(wanted, ORDERS[sort], now=now)
    names = await _attribute_names(new_uow, begun)

    async def next_page(uow: UnitOfWork, after: Position | None) -> tuple[bytes, Position | None]:
        search = begun.continued(after)
        end = await end_of(uow.session, search)
        rows = await copy_page(uow.session, search, end=end, attributes=names)
        return rows, end

    header = [*HEADER, *(f"attributes.{name}" for name in names)]
    return write_csv(new_uow, header=header, next_page=next_page)


NextPeople = Callable[
    [UnitOfWork, TimePosition | None, int], Awaitable[list[tuple[datetime, UUID]]]
]
"""A function that returns the next contacts to export.

Its arguments are the open transaction, the position after which to begin (None: at the beginning),
and the largest number of contacts. It returns an instant and the id of each contact, ordered by the
instant and then by the id.
"""


async def people_csv(
    new_uow: UnitOfWorkFactory, next_people: NextPeople, *, now: datetime
) -> AsyncIterator[bytes]:
    """Stream a CSV file of the contacts that ``next_people`` returns, page by page.

    The columns are the same as in ``contacts_csv``.
    """
    names: set[str] = set()
    position: TimePosition | None = None
    while True:
        async with new_uow() as uow:
            found = await next_people(uow, position, csv_export.PAGE)
            ids = [contact_id for _, contact_id in found]
            names |= await attribute_names(uow.session, Contact.id == func.any(_ids(ids)))
        if len(found) < csv_export.PAGE:
            break
        position = found[-1]
    columns = sorted(names)[:MOST_ATTRIBUTES]

    async def next_page(
        uow: UnitOfWork, after: TimePosition | None
    ) -> tuple[bytes, TimePosition | None]:
        found = await next_people(uow, after, csv_export.PAGE)
        ids = [contact_id for _, contact_id in found]
        rows = await copy_people(uow.session, ids, attributes=columns, now=now)
        return rows, found[-1] if len(found) == csv_export.PAGE else None

    header = [*HEADER, *(f"attributes.{name}" for name in columns)]
    return write_csv(new_uow, header=header, next_page=next_page)


async def _attribute_names(new_uow: UnitOfWorkFactory, begun: Search) -> list[str]:
    """Return the sorted attribute names of all contacts that match the search.

    At most ``MOST_ATTRIBUTES`` names are returned.
    """
    names: set[str] = set()
    after: Position | None = None
    while True:
        search = begun.continued(after)
        async with new_uow() as uow:
            after = await end_of(uow.session, search)
            names |= await attribute_names(uow.session, *_of_page(search, after))
        if after is None:
            return sorted(names)[:MOST_ATTRIBUTES]


async def end_of(session: AsyncSession, search: Search) -> Position | None:
    """Return the position of the last contact on the page that ``search`` describes.

    The page begins after the position in ``search``. The result is None if this page is the last
    page.
    """
    key = search.order.key(Contact)
    ordered = (
        select(key, Contact.id).where(*search.span()).order_by(*search.order.by(key, Contact.id))
    )
    last = await end_of_page(session, ordered)
    return None if last is None else (last[0], last[1])


async def attribute_names(session: AsyncSession, *conditions: ColumnElement[bool]) -> set[str]:
    """Fetch the names of all attributes of the contacts that meet the conditions."""
    names = func.jsonb_object_keys(Contact.attributes).table_valued("name")
    statement = select(names.c.name).distinct().select_from(Contact).join(names, true())
    return set(await session.scalars(statement.where(*conditions)))


def _select_rows(
    source: FromClause | type[Contact], *, attributes: Sequence[str], now: datetime
) -> Select[Any]:
    """Return the statement that selects the CSV columns of contacts.

    Args:
        source: The table of all contacts, or a join that leaves only the wanted contacts.
    """
    # The flags and the lists of a contact come from joins, not from sub-selects in the columns. The
    # function ``cell`` repeats the SQL of a column several times in the statement. PostgreSQL would
    # run a sub-select once for each repetition.
    flags, lists = _flags(now), _lists()
    own = (cell(Contact.attributes[name].astext) for name in attributes)
    statement = select(*_columns(flags, lists), *own).select_from(source)
    return statement.join(flags, true()).join(lists, true())


async def copy_people(
    session: AsyncSession,
    contact_ids: Sequence[UUID],
    *,
    attributes: Sequence[str],
    now: datetime,
) -> bytes:
    """Return the CSV rows of these contacts, in the given order; leave out deleted contacts."""
    chosen = (
        func.unnest(_ids(contact_ids))
        .table_valued("id", with_ordinality="position", name="chosen")
        .render_derived()
    )
    found = join(chosen, Contact, Contact.id == chosen.c.id)
    statement = _select_rows(found, attributes=attributes, now=now)
    ordered = statement.where(Contact.deleted_at.is_(None)).order_by(chosen.c.position)
    return await copy_rows(session, ordered)


async def copy_page(
    session: AsyncSession, search: Search, *, end: Position | None, attributes: Sequence[str]
) -> bytes:
    """Return the contacts of one page of the export as CSV rows.

    Args:
        search: The filter and the order of the contacts, and where the page begins.
        end: The position of the last contact of the page; None for the last page.
        attributes: The names of the attributes that get a column.
    """
    order = search.order.by(search.order.key(Contact), Contact.id)
    statement = _select_rows(Contact, attributes=attributes, now=search.now)
    return await copy_rows(session, statement.where(*_of_page(search, end)).order_by(*order))
