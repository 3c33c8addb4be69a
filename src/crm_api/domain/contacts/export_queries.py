"""SQL that writes contacts as CSV, with what stands about consent and every attribute."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    SQLColumnExpression,
    false,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import ContactFlag, FlagType
from crm_api.domain.contacts.find_queries import Position, Search
from crm_api.domain.contacts.models import Contact
from crm_api.domain.contacts.queries import stands
from crm_api.domain.exports.copying import cell, copy_rows, end_of_page, instant, row_id, truth
from crm_api.domain.lists.models import ContactList, ContactListMember

TEXTS = (
    *("first_name", "last_name", "email", "company"),
    *("street", "city", "state", "postal_code", "country", "timezone"),
)
HEADER = (
    *("id", "phone", *TEXTS, "tags", "lists"),
    *("opted_out", "opted_out_at", "opt_out_reason", "opt_out_hold", "do_not_contact", "flags"),
    *("source", "created_at", "updated_at"),
)
"""The columns that every file has; those of the attributes follow."""
MOST_ATTRIBUTES = 300
_BETWEEN: ColumnElement[str] = literal_column("'; '")


async def end_of(session: AsyncSession, search: Search) -> Position | None:
    """Return where the page that a search begins ends; None on the last."""
    key = search.order.key(Contact)
    ordered = (
        select(key, Contact.id).where(*search.span()).order_by(*search.order.by(key, Contact.id))
    )
    last = await end_of_page(session, ordered)
    return None if last is None else (last[0], last[1])


async def attribute_names(
    session: AsyncSession, search: Search, *, end: Position | None
) -> set[str]:
    """Fetch the names of the attributes in a page."""
    names = func.jsonb_object_keys(Contact.attributes).table_valued("name")
    statement = select(names.c.name).distinct().select_from(Contact).join(names, true())
    return set(await session.scalars(statement.where(*_of_page(search, end))))


async def copy_page(
    session: AsyncSession, search: Search, *, end: Position | None, attributes: Sequence[str]
) -> bytes:
    """Write a page."""
    order = search.order.by(search.order.key(Contact), Contact.id)
    # Joined, since a column that is neutralised is read several times.
    flags, lists = _flags(search.now), _lists()
    statement = (
        select(
            *_columns(flags, lists), *(cell(Contact.attributes[name].astext) for name in attributes)
        )
        .select_from(Contact)
        .join(flags, true())
        .join(lists, true())
        .where(*_of_page(search, end))
        .order_by(*order)
    )
    return await copy_rows(session, statement)


def _of_page(search: Search, end: Position | None) -> list[ColumnElement[bool]]:
    # Other tables are asked for each person, so that no page reads more than its own span.
    found = [*search.span(), *search.conditions(Contact, one_by_one=True)]
    if end is not None:
        place = tuple_(search.order.key(Contact), Contact.id)
        found.append(place >= end if search.order.descending else place <= end)
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
        **{name: cell(getattr(Contact, name)) for name in TEXTS},
    }
    return [written[name].label(name) for name in HEADER]


def _lists() -> FromClause:
    """One row a contact: on which lists it is."""
    return (
        select(_joined(ContactList.name).label("lists"))
        .select_from(ContactListMember)
        .join(ContactList, ContactList.id == ContactListMember.list_id)
        .where(ContactListMember.contact_id == Contact.id)
        .correlate(Contact)
        .lateral("on_lists")
    )


def _flags(now: datetime) -> FromClause:
    """One row a contact: what stands on the number."""
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
        .where(flag.phone == Contact.phone, stands(now))
        .correlate(Contact)
        .lateral("flags")
    )


def _joined(column: SQLColumnExpression[str]) -> ColumnElement[str]:
    return func.string_agg(column, aggregate_order_by(_BETWEEN, column))


def _has(flag: FlagType) -> ColumnElement[bool]:
    return func.coalesce(func.bool_or(ContactFlag.flag_type == flag.value), false())
