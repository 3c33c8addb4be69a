"""Search for contacts by filter, in every order, page by page."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact, make_list

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.people.contacts.schemas import ContactFilter, ContactSort
from crm_api.domain.people.contacts.search import ORDERS, Search, fetch_contacts
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.ids import new_id

PEOPLE: list[dict[str, Any]] = [
    {"first_name": "José", "last_name": "Álvarez", "email": "jose@example.com", "state": "MA"},
    {"first_name": "Josephine", "last_name": "Smith", "city": "San José", "state": "CA"},
    {"first_name": "Ada", "last_name": "Smith", "company": "Jolly Roofs", "tags": ["vip"]},
    {"first_name": "Bo", "last_name": "O'Brien", "email": "bo@example.com", "city": "Salem"},
    {"first_name": None, "last_name": None, "company": "Acme", "tags": ["vip", "hot"]},
    {"first_name": None, "last_name": None, "state": "Massachusetts", "city": "SALEM"},
    {"first_name": "ada", "last_name": "alvarez", "state": "ma", "tags": ["hot"]},
    {"first_name": "Zoë", "last_name": None, "email": "zoe@example.com"},
    {"first_name": "Ada", "last_name": "Smith"},
]


def make_phone(position: int) -> str:
    return f"+1617555010{position}"


@pytest.fixture
async def people(session: AsyncSession) -> list[Contact]:
    """Make contacts whose order of creation differs from their order of change.

    In pairs, the contacts have the same creation time.
    """
    made = [
        await make_contact(
            session,
            phone=make_phone(position),
            now=NOW + timedelta(minutes=position // 2),
            **{"first_name": None, **values},
        )
        for position, values in enumerate(PEOPLE)
    ]
    for position, contact in enumerate(made):
        contact.updated_at = NOW + timedelta(hours=position * 5 % 7)
    await make_contact(session, phone="+16175550199", first_name="Josefa", deleted_at=NOW)
    session.add_all(
        ContactFlag(
            id=new_id(), phone=make_phone(position), flag_type=flag, created_at=NOW, expires_at=end
        )
        for position, flag, end in (
            (0, "opted_out", None),
            (1, "vip", NOW - timedelta(days=1)),
            (2, "vip", None),
            (3, "vip", NOW + timedelta(days=1)),
        )
    )
    await session.commit()
    for contact in made:
        await session.refresh(contact)
    return made


async def read_pages(
    session: AsyncSession,
    *,
    sort: ContactSort = ContactSort.NEWEST,
    limit: int = 50,
    window: int = 10_000,
    **wanted: Any,
) -> list[int]:
    """Read all pages of a list; return the position of each contact, in the order of the list."""
    order = ORDERS[sort]
    found: list[int] = []
    after: tuple[datetime | str, UUID] | None = None
    while True:
        search = Search.of(ContactFilter(**wanted), order, now=NOW).continued(after)
        rows = await fetch_contacts(session, search, limit=limit, window=window)
        found += [int(row.contact.phone[-1]) for row in rows]
        if len(rows) < limit:
            return found
        after = (getattr(rows[-1].contact, order.column), rows[-1].contact.id)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"q": "jose"}, {0, 1}),
        ({"q": "JOSÉ"}, {0, 1}),
        ({"q": "alvarez"}, {0, 6}),
        ({"q": "obrien"}, {3}),
        ({"q": "o\u2019brien"}, {3}),
        ({"q": "smith ada"}, {2, 8}),
        ({"q": "eph"}, {1}),
        ({"q": "jo"}, {0, 1, 2}),
        ({"q": "b"}, {3}),
        ({"q": "j smith"}, {1, 2}),
        ({"q": "ph"}, set()),
        ({"q": "61"}, set(range(9))),
        ({"q": "55"}, set()),
        ({"q": "(617) 555-0104"}, {4}),
        ({"q": "0104"}, {4}),
        ({"q": "josefa"}, set()),
        ({"tag": "vip"}, {2, 4}),
        ({"state": "MA"}, {0, 5, 6}),
        ({"state": "massachusetts"}, {0, 5, 6}),
        ({"state": "Nowhere"}, set()),
        ({"city": "salem"}, {3, 5}),
        ({"city": "San Jose"}, {1}),
        ({"city": "salem", "state": "ma"}, {5}),
        ({"has_email": True}, {0, 3, 7}),
        ({"has_email": False}, {1, 2, 4, 5, 6, 8}),
        ({"opted_out": True}, {0}),
        ({"opted_out": False}, {1, 2, 3, 4, 5, 6, 7, 8}),
        ({"flag": "vip"}, {2, 3}),
        ({"flag": "opted_out"}, {0}),
        ({"flag": "opted_out", "opted_out": False}, set()),
        ({"created_after": NOW + timedelta(minutes=2)}, {6, 7, 8}),
        ({"created_before": NOW + timedelta(minutes=1)}, {0, 1}),
        ({"updated_after": NOW + timedelta(hours=5)}, {4}),
        ({"phone": make_phone(4)}, {4}),
        ({"phone": make_phone(4), "tag": "cold"}, set()),
        ({"tag": "vip", "q": "acme", "has_email": False}, {4}),
    ],
    ids=str,
)
@pytest.mark.usefixtures("people")
async def test_filter_finds_the_same_contacts_by_window_and_by_look_up(
    session: AsyncSession, wanted: dict[str, Any], found: set[int]
) -> None:
    by_window = await read_pages(session, **wanted)
    by_look_up = await read_pages(session, window=1, limit=2, **wanted)

    assert set(by_window) == found
    assert by_look_up == by_window


async def test_list_filter_finds_the_contacts_of_the_list(
    session: AsyncSession, people: list[Contact]
) -> None:
    some = await make_list(session, contacts=[people[0], people[7]])

    assert await read_pages(session, list_id=some.id) == [7, 0]
    assert await read_pages(session, list_id=some.id, window=1, q="zoe") == [7]


Key = Callable[[Contact], tuple[Any, ...]]
KEYS: dict[ContactSort, tuple[Key, bool]] = {
    ContactSort.CREATED: (lambda one: (one.created_at, one.id), False),
    ContactSort.NEWEST: (lambda one: (one.created_at, one.id), True),
    ContactSort.UPDATED: (lambda one: (one.updated_at, one.id), False),
    ContactSort.LAST_UPDATED: (lambda one: (one.updated_at, one.id), True),
    ContactSort.NAME: (lambda one: (one.sort_name, one.id), False),
    ContactSort.NAME_BACKWARDS: (lambda one: (one.sort_name, one.id), True),
}


@pytest.mark.parametrize("sort", ContactSort)
@pytest.mark.parametrize(("limit", "window"), [(1, 1), (2, 3), (3, 10_000), (50, 10_000)])
async def test_pages_in_any_order_have_each_contact_once(
    session: AsyncSession, people: list[Contact], sort: ContactSort, limit: int, window: int
) -> None:
    key, is_reversed = KEYS[sort]
    expected = [int(one.phone[-1]) for one in sorted(people, key=key, reverse=is_reversed)]

    assert await read_pages(session, sort=sort, limit=limit) == expected
    assert await read_pages(session, sort=sort, limit=limit, window=window, q="61") == expected


@pytest.mark.usefixtures("people")
async def test_order_by_name_ignores_case_and_accents(session: AsyncSession) -> None:
    found = await read_pages(session, sort=ContactSort.NAME)

    # Álvarez is sorted with A. Contacts without a name come last, first by company and then by
    # number.
    assert found == [6, 0, 3, *sorted((2, 8), key=found.index), 1, 7, 5, 4]


async def test_page_is_stable_while_contacts_are_added_and_deleted(
    session: AsyncSession, people: list[Contact]
) -> None:
    search = Search.of(ContactFilter(), ORDERS[ContactSort.NAME], now=NOW)
    first = await fetch_contacts(session, search, limit=3)
    last = first[-1].contact
    await make_contact(session, phone="+16175550188", first_name="Aa", last_name="Aa")
    await session.execute(
        text("UPDATE contact SET deleted_at = :now WHERE id = :id"), {"now": NOW, "id": last.id}
    )

    rest = await fetch_contacts(session, search.continued((last.sort_name, last.id)), limit=50)

    assert {one.contact.id for one in first + rest} == {one.id for one in people}
    assert len(first + rest) == len(people)
