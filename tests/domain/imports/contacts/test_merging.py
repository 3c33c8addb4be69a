"""The import statement changes existing contacts in the same way as the plain rules in Python."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.imports.contacts.one_by_one import CONTENT, merge
from tests.workers.imports.test_imports import NewUow

from crm_api.domain.imports.contacts import undo, undo_request, write
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS, ContactImport, OnDuplicate
from crm_api.domain.imports.contacts.rows import COLUMNS, PersonRow, as_record
from crm_api.domain.imports.contacts.source import ContactChunk
from crm_api.domain.imports.files import runs
from crm_api.domain.kit.zones import zone_key
from crm_api.domain.people.models.contacts import Contact

FILL, OVERWRITE, SKIP = OnDuplicate.FILL, OnDuplicate.OVERWRITE, OnDuplicate.SKIP
LATER = NOW + timedelta(hours=1)


def phone_of(position: int) -> str:
    return f"+1617555{position:04d}"


def with_zone_key(person: PersonRow) -> PersonRow:
    person.zone_key = zone_key(
        timezone=person.timezone,
        state=person.state,
        postal_code=person.postal_code,
        phone=person.phone,
    )
    return person


def person(position: int = 101, **values: Any) -> PersonRow:
    return with_zone_key(PersonRow(line=position, phone=phone_of(position), **values))


def stored(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS), "tags": [], "attributes": {}, **values}


class Store:
    """A helper that stores contacts, and imports people without a file."""

    def __init__(self, session: AsyncSession, new_uow: NewUow) -> None:
        self._session = session
        self._new_uow = new_uow

    async def add_contact(self, values: dict[str, Any], position: int = 101) -> None:
        place = with_zone_key(PersonRow(line=1, phone=phone_of(position), **values)).zone_key
        self._session.add(
            Contact(
                phone=phone_of(position), zone_key=place, created_at=NOW, updated_at=NOW, **values
            )
        )
        await self._session.commit()

    async def import_people(
        self, *people: PersonRow, on_duplicate: OnDuplicate = FILL
    ) -> ContactImport:
        row = ContactImport(
            status="running",
            byte_size=1,
            mapping={},
            on_duplicate=on_duplicate,
            created_at=NOW,
            updated_at=NOW,
        )
        self._session.add(row)
        await self._session.commit()
        chunk = ContactChunk(
            start=0,
            rows=len(people),
            records=[as_record(one, at) for at, one in enumerate(people, start=1)],
            problems=[],
            duplicates=0,
            invalid=0,
        )
        async with self._new_uow() as uow:
            assert await write.apply_chunk(
                uow, import_id=row.id, chunk=chunk, now=LATER, secret=SECRET.encode()
            )
        async with self._new_uow() as uow:
            await runs.complete(uow, CONTACT_IMPORTS, import_id=row.id, rows=len(people), now=LATER)
        await self._session.refresh(row)
        return row

    async def undo(self, row: ContactImport) -> None:
        async with self._new_uow() as uow:
            await undo_request.request_undo(uow, import_id=row.id, now=LATER)
            await undo.claim_undo(uow.session, now=LATER)
        is_more = True
        while is_more:
            async with self._new_uow() as uow:
                is_more = await undo.undo_chunk(uow, import_id=row.id, now=LATER)

    async def content(self) -> dict[str, dict[str, Any]]:
        statement = select(Contact).where(Contact.deleted_at.is_(None)).order_by(Contact.phone)
        rows = await self._session.scalars(statement.execution_options(populate_existing=True))
        return {
            row.phone: {name: getattr(row, name) for name in (*CONTENT, "zone_key")} for row in rows
        }

    async def merged(
        self, old: dict[str, Any], new: PersonRow, on_duplicate: OnDuplicate
    ) -> dict[str, Any] | None:
        await self.add_contact(old)
        row = await self.import_people(new, on_duplicate=on_duplicate)
        return (await self.content())[new.phone] if row.updated else None

    async def delete_all(self) -> None:
        for table in ("contact_import_chunk", "contact_import", "contact"):
            await self._session.execute(text(f"DELETE FROM {table}"))
        await self._session.commit()


@pytest.fixture
def store(session: AsyncSession, new_uow: NewUow) -> Store:
    return Store(session, new_uow)


async def test_fill_sets_only_empty_fields(store: Store) -> None:
    merged = await store.merged(
        stored(first_name="Ada", email=""),
        person(first_name="Eva", last_name="Rossi", email="ada@example.com"),
        FILL,
    )

    assert merged is not None
    assert (merged["first_name"], merged["last_name"]) == ("Ada", "Rossi")
    assert merged["email"] == "ada@example.com"


async def test_overwrite_replaces_the_fields_of_the_file_and_keeps_the_others(store: Store) -> None:
    merged = await store.merged(
        stored(first_name="Ada", company="Granite"), person(first_name="Eva"), OVERWRITE
    )

    assert merged is not None
    assert (merged["first_name"], merged["company"]) == ("Eva", "Granite")


@pytest.mark.parametrize("on_duplicate", list(OnDuplicate))
async def test_row_without_new_values_changes_nothing(
    store: Store, on_duplicate: OnDuplicate
) -> None:
    old = stored(first_name="Ada", tags=["vip"], attributes={"roof": "slate"})
    same = person(first_name="Ada", tags=["vip"], attributes={"roof": "slate"})

    assert await store.merged(old, same, on_duplicate) is None


@pytest.mark.parametrize(("on_duplicate", "roof"), [(FILL, "slate"), (OVERWRITE, "tin")])
async def test_attributes_and_tags_are_merged(
    store: Store, on_duplicate: OnDuplicate, roof: str
) -> None:
    old = stored(tags=["vip"], attributes={"roof": "slate"})
    new = person(tags=["spring", "vip"], attributes={"roof": "tin", "beds": "3"})

    merged = await store.merged(old, new, on_duplicate)

    assert merged is not None
    assert merged["tags"] == ["vip", "spring"]
    assert merged["attributes"] == {"roof": roof, "beds": "3"}


async def test_fill_completes_an_address(store: Store) -> None:
    merged = await store.merged(stored(city="quincy"), person(city="Quincy", state="MA"), FILL)

    assert merged is not None
    assert (merged["city"], merged["state"]) == ("quincy", "MA")


async def test_fill_never_mixes_two_addresses(store: Store) -> None:
    assert await store.merged(stored(city="Boston"), person(city="Miami", state="FL"), FILL) is None


async def test_zone_follows_an_address_that_is_partly_stored(store: Store) -> None:
    merged = await store.merged(stored(state="FL"), person(postal_code="32501"), FILL)

    assert merged is not None
    assert merged["zone_key"] == "FL,MA/America/Chicago,America/New_York"


TEXTS = st.sampled_from([None, "Ada", "ada", "Eva"])
NEW = {
    **dict.fromkeys(("first_name", "last_name", "email", "company", "street"), TEXTS),
    "city": st.sampled_from([None, "Quincy", "QUINCY", "Miami"]),
    "state": st.sampled_from([None, "MA", "FL", "TX"]),
    "postal_code": st.sampled_from([None, "02169", "32501", "79901"]),
    "country": st.sampled_from([None, "US"]),
    "timezone": st.sampled_from([None, "America/Chicago"]),
    "tags": st.lists(st.sampled_from(["vip", "spring", "cold"]), unique=True, max_size=3),
    "attributes": st.dictionaries(
        st.sampled_from(["roof", "beds", "note"]), st.sampled_from(["1", "2"]), max_size=3
    ),
}
OLD = NEW | {
    **dict.fromkeys(("first_name", "email"), st.sampled_from([None, "", "Ada", "Eva"])),
    "attributes": st.dictionaries(
        st.sampled_from(["roof", "beds", "note"]), st.sampled_from(["1", 2, None]), max_size=3
    ),
}


@given(
    pairs=st.lists(
        st.tuples(st.none() | st.fixed_dictionaries(OLD), st.fixed_dictionaries(NEW)),
        min_size=1,
        max_size=12,
    ),
    on_duplicate=st.sampled_from(OnDuplicate),
)
@settings(
    max_examples=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_statement_merges_a_chunk_like_the_plain_rules_and_undo_restores_it(
    store: Store,
    pairs: list[tuple[dict[str, Any] | None, dict[str, Any]]],
    on_duplicate: OnDuplicate,
) -> None:
    await store.delete_all()
    expected: dict[str, dict[str, Any]] = {}
    people = []
    for at, (old, new) in enumerate(pairs):
        people.append(person(at, **new))
        merged: dict[str, Any] | None = {**new, "zone_key": people[-1].zone_key}
        if old is not None:
            await store.add_contact(old, at)
            merged = merge(old, people[-1], on_duplicate)
        if merged is not None:
            expected[phone_of(at)] = merged
    before = await store.content()

    row = await store.import_people(*people, on_duplicate=on_duplicate)

    assert await store.content() == before | expected
    known = sum(1 for phone in expected if phone in before)
    assert (row.created, row.updated) == (len(expected) - known, known)
    assert row.unchanged == len(pairs) - len(expected)

    await store.undo(row)

    blank_is_null = {
        phone: {name: None if value == "" else value for name, value in content.items()}
        for phone, content in before.items()
    }
    after = await store.content()
    assert {
        phone: {name: None if value == "" else value for name, value in content.items()}
        for phone, content in after.items()
    } == blank_is_null
