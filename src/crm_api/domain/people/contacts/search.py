"""SQL that finds a page of the contacts that match a filter, for every filter and every order.

PostgreSQL often chooses a slow plan. So this module usually checks a limited number of contacts
first, in the order of the list. If too few of them match to fill the page, all matches are looked
up and sorted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from crm_api.domain.consent.models import ContactFlag, FlagType
from crm_api.domain.kit.regions import STATE_NAMES
from crm_api.domain.kit.zones import state_code
from crm_api.domain.people.contacts.flagged import fetch_flagged, flagged_columns, is_unexpired
from crm_api.domain.people.contacts.schemas import ContactFilter, ContactSort, FlaggedContact
from crm_api.domain.people.contacts.search_patterns import fold, search_patterns
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactListMember

_Column = ColumnElement[Any] | InstrumentedAttribute[Any]
Position = tuple[datetime | str, UUID]
"""The sort value and id of the last row of the previous page. The page begins after this row."""

WINDOW = 5_000
"""The number of contacts that a search reads first, in the order of the list.

Reading these contacts takes 3 ms. If one contact in a hundred matches, the matching contacts fill a
page.
"""
FEW = 5_000
"""The largest number of contacts of a list or flag for which a search looks up all matches at once.

If the list or flag in the filter has more contacts, the search first reads contacts in the order of
the result.
"""


@dataclass(frozen=True)
class Order:
    """A column and a direction to sort by.

    Rows with equal values are ordered by id, in the same direction.
    """

    column: str
    descending: bool = False

    @property
    def is_text(self) -> bool:
        """True if the column contains text, False if it contains instants."""
        return self.column == "sort_name"

    def key(self, person: type[Contact]) -> InstrumentedAttribute[Any]:
        """Return the column by which the found contacts are sorted.

        Args:
            person: The class ``Contact``, or an alias of it, that the statement selects.
        """
        found: InstrumentedAttribute[Any] = getattr(person, self.column)
        return found

    def by(self, key: _Column, row_id: _Column) -> list[ColumnElement[Any]]:
        """Return the ORDER BY expressions for the sort column ``key`` and the id."""
        return [key.desc(), row_id.desc()] if self.descending else [key.asc(), row_id.asc()]

    def after(self, person: type[Contact], position: Position | None) -> list[ColumnElement[bool]]:
        """Return a list with one condition: the contact comes after ``position``.

        The list is empty if ``position`` is None.

        Args:
            person: The class ``Contact``, or an alias of it, that the statement selects.
            position: The sort value and id of the last contact of the previous page.
        """
        if position is None:
            return []
        row_key = tuple_(self.key(person), person.id)
        return [row_key < position if self.descending else row_key > position]


ORDERS = {
    ContactSort.CREATED: Order("created_at"),
    ContactSort.NEWEST: Order("created_at", descending=True),
    ContactSort.NAME: Order("sort_name"),
    ContactSort.NAME_BACKWARDS: Order("sort_name", descending=True),
    ContactSort.UPDATED: Order("updated_at"),
    ContactSort.LAST_UPDATED: Order("updated_at", descending=True),
}


_BY_NAME = ORDERS[ContactSort.NAME]
"""The order for a ``Search`` if the caller uses only its method ``conditions``.

``conditions`` leaves out the filter's conditions on the column of the order. No filter has a
condition on the name. So with this order, ``conditions`` returns all conditions of the filter.
"""


async def fetch_contacts(
    session: AsyncSession, search: "Search", *, limit: int, window: int = WINDOW
) -> list[FlaggedContact]:
    """Fetch up to ``limit`` contacts that match a search.

    Args:
        window: The number of contacts that are checked first, in the order of the list. If too few
            of them match the filter, all contacts are searched.
    """
    # If the filter has no conditions, every contact matches, so reading in order is fast. If the
    # filter has a phone number, at most one contact matches.
    if search.wanted.phone is not None or not search.conditions(Contact):
        return await fetch_flagged(session, search.all_in_order().limit(limit))
    if not await _are_few(session, search):
        near = await fetch_flagged(session, search.near(window).limit(limit))
        if len(near) == limit:
            return near
    return await fetch_flagged(session, search.far(limit))


async def count_matches(session: AsyncSession, wanted: ContactFilter, *, now: datetime) -> int:
    """Count the contacts that match a filter.

    Raises:
        UnsearchableError: ``q`` has no letter and no digit.
    """
    search = Search.of(wanted, _BY_NAME, now=now)
    statement = select(func.count()).select_from(Contact).where(Contact.deleted_at.is_(None))
    return await session.scalar(statement.where(*search.conditions(Contact))) or 0


async def fetch_matching_ids(
    session: AsyncSession,
    wanted: ContactFilter,
    *,
    after: UUID | None,
    created_until: datetime,
    limit: int,
    now: datetime,
) -> list[UUID]:
    """Fetch up to ``limit`` ids of matching contacts, in order of id, after the id ``after``.

    Args:
        after: The last id of the previous page; None for the first page.
        created_until: Contacts that were created later are left out.

    Raises:
        UnsearchableError: ``q`` has no letter and no digit.
    """
    search = Search.of(wanted, _BY_NAME, now=now)
    statement = select(Contact.id).where(
        Contact.deleted_at.is_(None),
        Contact.created_at <= created_until,
        *search.conditions(Contact),
    )
    if after is not None:
        statement = statement.where(Contact.id > after)
    return list(await session.scalars(statement.order_by(Contact.id).limit(limit)))


async def _are_few(session: AsyncSession, search: "Search") -> bool:
    """Return True if a list or flag that the filter requires has at most ``FEW`` contacts."""
    for rows, _, is_wanted in search.elsewhere(Contact):
        if is_wanted:
            # The limit is in a subquery, so that PostgreSQL does not know it. If PostgreSQL knew
            # the limit, it might choose a slower plan (see ``near``).
            few = rows.limit(_unknown(FEW + 1)).subquery()
            counted = select(func.count()).select_from(few)
            if (await session.scalar(counted) or 0) <= FEW:
                return True
    return False


@dataclass(frozen=True)
class Search:
    """Builds the SQL statements that find one page of contacts.

    A search consists of a filter, an order, and the position after which the page begins.

    Attributes:
        patterns: For each term of the search text ``wanted.q``, the LIKE patterns of this term. A
            contact must match at least one pattern of every term.
    """

    wanted: ContactFilter
    patterns: Sequence[Sequence[str]]
    order: Order
    after: Position | None
    now: datetime

    @classmethod
    def of(cls, wanted: ContactFilter, order: Order, *, now: datetime) -> Self:
        """Return a search for a filter, whose page is the first page.

        Raises:
            UnsearchableError: ``q`` has no letter and no digit.
        """
        return cls(wanted, search_patterns(wanted.q), order, None, now)

    def continued(self, after: Position | None) -> Self:
        """Return a copy of this search whose page begins after the position ``after``."""
        return replace(self, after=after)

    def all_in_order(self) -> Select[Any]:
        """Return a statement that selects all matching contacts, in the order of the list.

        Use this statement only if the filter has no conditions, or if it selects one phone number.
        With other filters, the database may read and sort all contacts to find the first match.
        """
        return (
            select(*flagged_columns(Contact, self.now))
            .where(*self.span(), *self.conditions(Contact))
            .order_by(*self.order.by(self.order.key(Contact), Contact.id))
        )

    def near(self, size: int) -> Select[Any]:
        """Return a statement that finds the matching contacts among the next ``size`` contacts.

        "Next" means in the order of the list. A subquery hides ``size`` from the query planner.
        Otherwise PostgreSQL might sort all contacts: 1.5 s for a million.
        """
        window = (
            select(Contact)
            .where(*self.span())
            .order_by(*self.order.by(self.order.key(Contact), Contact.id))
            .limit(_unknown(size))
            .subquery("near")
        )
        person = aliased(Contact, window)
        return (
            select(*flagged_columns(person, self.now))
            .where(*self.conditions(person, one_by_one=True))
            .order_by(*self.order.by(self.order.key(person), person.id))
        )

    def far(self, limit: int) -> Select[Any]:
        """Return a statement that finds the first ``limit`` matching contacts.

        The statement finds all matching contacts and then sorts them, so it is fast if few contacts
        match. Deleted contacts are left out.
        """
        is_live, *span = self.span()
        is_late = (
            bool(self.patterns)
            or self.wanted.tag is not None
            or any(is_wanted for _, _, is_wanted in self.elsewhere(Contact))
        )
        found = (
            select(Contact.id, self.order.key(Contact).label("key"), Contact.deleted_at)
            .where(*([] if is_late else [is_live]), *span, *self.conditions(Contact))
            .cte("found")
            .prefix_with("MATERIALIZED")
        )
        first = (
            select(found.c.id, found.c.key)
            .where(*([found.c.deleted_at.is_(None)] if is_late else []))
            .order_by(*self.order.by(found.c.key, found.c.id))
            .limit(limit)
            .subquery("first")
        )
        return (
            select(*flagged_columns(Contact, self.now))
            .join(first, first.c.id == Contact.id)
            .order_by(*self.order.by(first.c.key, first.c.id))
        )

    def span(self) -> list[ColumnElement[bool]]:
        """Return the SQL conditions that the database can check with an index on the sort column.

        The result has these conditions, in the order of this list:

        - The contact is not deleted.
        - If the filter limits the sort column: the value of the contact is within the limits.
        - If ``after`` is given: the contact comes after the position ``after``.

        The method ``conditions`` returns all other conditions of the filter.
        """
        own = self._spans(Contact).get(self.order.column, [])
        return [Contact.deleted_at.is_(None), *own, *self.order.after(Contact, self.after)]

    def _spans(self, person: type[Contact]) -> dict[str, list[ColumnElement[bool]]]:
        wanted = self.wanted
        created: list[ColumnElement[bool]] = []
        if wanted.created_after is not None:
            created.append(person.created_at > wanted.created_after)
        if wanted.created_before is not None:
            created.append(person.created_at < wanted.created_before)
        updated = (
            [person.updated_at > wanted.updated_after] if wanted.updated_after is not None else []
        )
        return {"created_at": created, "updated_at": updated}

    def conditions(
        self, person: type[Contact], *, one_by_one: bool = False
    ) -> list[ColumnElement[bool]]:
        """Return the SQL conditions of the filter, except those on the sort column.

        The method ``span`` returns the conditions on the sort column.

        Args:
            person: The class ``Contact``, or an alias of it.
            one_by_one: True: query other tables once for each contact, instead of joining them.
        """
        wanted = self.wanted
        found = [
            or_(*(person.search_text.like(pattern) for pattern in term)) for term in self.patterns
        ]
        if wanted.phone is not None:
            found.append(person.phone == wanted.phone)
        if wanted.tag is not None:
            found.append(person.tags.contains([wanted.tag]))
        if wanted.state is not None:
            found.append(func.lower(person.state).in_(_forms_of_state(wanted.state)))
        if wanted.city is not None:
            found.append(func.search_fold(person.city) == fold(wanted.city))
        if wanted.has_email is not None:
            found.append(person.email.is_not(None) if wanted.has_email else person.email.is_(None))
        for column, spans in self._spans(person).items():
            found += spans if column != self.order.column else []
        for rows, is_theirs, is_wanted in self.elsewhere(person):
            theirs = rows.where(is_theirs).correlate(person)
            there = theirs.scalar_subquery().is_not(None) if one_by_one else theirs.exists()
            found.append(there if is_wanted else ~there)
        return found

    def elsewhere(
        self, person: type[Contact]
    ) -> Iterator[tuple[Select[Any], ColumnElement[bool], bool]]:
        """Yield the conditions of the filter that need other tables: lists and flags.

        Each condition is a tuple ``(rows, is_theirs, is_wanted)``:

        - ``rows``: a query for rows of the other table.
        - ``is_theirs``: the SQL condition that a row belongs to the contact.
        - ``is_wanted``: True if the contact must have a row; False if it must have none.
        """
        wanted = self.wanted
        if wanted.list_id is not None:
            members = select(literal(1)).where(ContactListMember.list_id == wanted.list_id)
            yield members, ContactListMember.contact_id == person.id, True
        flags = [(FlagType.OPTED_OUT.value, wanted.opted_out), (wanted.flag, True)]
        for flag, is_wanted in flags:
            if flag is None or is_wanted is None:
                continue
            # The name of a built-in flag is written into the SQL text, so that PostgreSQL can use
            # the partial index for that flag.
            name = literal_column(f"'{flag}'") if flag in set(FlagType) else literal(flag)
            flags_found = select(literal(1)).where(
                ContactFlag.flag_type == name, is_unexpired(self.now)
            )
            yield flags_found, ContactFlag.phone == person.phone, is_wanted


def _unknown(number: int) -> ScalarSelect[Any]:
    """Return a number as a subquery, so that PostgreSQL plans without knowing the number.

    If PostgreSQL knew the number, it might choose a slow plan; see the method ``near``.
    """
    return select(cast(number, BigInteger)).scalar_subquery()


def _forms_of_state(text: str) -> list[str]:
    """Return the texts with which a state may be stored: the given text, its code and its names.

    All texts are in lower case.
    """
    code = state_code(text)
    names = [name for name, known in STATE_NAMES.items() if known == code]
    return list(dict.fromkeys([text.strip().lower(), *([code.lower()] if code else []), *names]))
