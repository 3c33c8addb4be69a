"""Tests of properties: authorisation, one property per address, and contacts of a property."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, number

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.people.properties import schemas, service

PATH = "/v1/properties"
UNKNOWN_CONTACT = "00000000-0000-7000-8000-000000000000"
UNKNOWN_PROPERTY = f"{PATH}/{UNKNOWN_CONTACT}"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
ROUTES = [
    ("POST", PATH, WRITE),
    ("GET", PATH, READ),
    ("GET", f"{PATH}/by-address?street=x", READ),
    ("GET", UNKNOWN_PROPERTY, READ),
    ("PATCH", UNKNOWN_PROPERTY, WRITE),
    ("DELETE", UNKNOWN_PROPERTY, WRITE),
    ("POST", f"{UNKNOWN_PROPERTY}/contacts", WRITE),
    ("DELETE", f"{UNKNOWN_PROPERTY}/contacts/{UNKNOWN_CONTACT}", WRITE),
    ("GET", f"/v1/contacts/{UNKNOWN_CONTACT}/properties", READ),
]
ADDRESS = {
    "street": "12 Main Street Apt 4",
    "city": "Quincy",
    "state": "MA",
    "postal_code": "02169",
}


async def create_property(client: httpx.AsyncClient, **body: Any) -> Any:
    response = await client.post(PATH, json={"address": ADDRESS} | body)
    assert response.status_code == 201, response.text
    return response.json()


async def list_streets(client: httpx.AsyncClient, path: str = PATH, **params: Any) -> list[str]:
    """Return the streets of all listed properties, read in pages of two."""
    streets: list[str] = []
    wanted: dict[str, Any] = {"limit": 2, **params}
    while True:
        response = await client.get(path, params=wanted)
        assert response.status_code == 200, response.text
        streets += [one["address"]["street"] for one in response.json()["data"]]
        wanted["cursor"] = response.json()["next_cursor"]
        if wanted["cursor"] is None:
            return streets


def faults(response: httpx.Response) -> list[tuple[str, str]]:
    assert response.status_code == 422, response.text
    return [(fault["pointer"], fault["code"]) for fault in response.json()["errors"]]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_is_refused(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    del client.headers["Authorization"]

    assert (await client.request(method, path, json={})).status_code == 401, scope


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    other = READ if scope is WRITE else WRITE

    response = await client.request(method, path, json={}, headers=await key_with(other))

    assert response.status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", UNKNOWN_PROPERTY, None),
        ("GET", f"{PATH}/by-address?street=1 Oak St&postal_code=02169", None),
        ("PATCH", UNKNOWN_PROPERTY, {"year_built": 1987}),
        ("DELETE", UNKNOWN_PROPERTY, None),
        ("POST", f"{UNKNOWN_PROPERTY}/contacts", {"contact_id": UNKNOWN_CONTACT}),
        ("DELETE", f"{UNKNOWN_PROPERTY}/contacts/{UNKNOWN_CONTACT}", None),
    ],
)
async def test_unknown_property_is_404(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    response = await client.request(method, path, json=body)

    assert (response.status_code, response.json()["code"]) == (404, "property_not_found")


async def test_property_is_added_with_its_contacts_and_shown(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(1), first_name="Ada", last_name="Rossi")
    leo = await make_contact(session, phone=number(2), first_name="Leo")
    people = [
        {"contact_id": str(leo.id), "role": "secondary"},
        {"contact_id": str(ada.id), "role": "primary"},
    ]

    made = await create_property(
        client,
        year_built=1987,
        property_type="SFR",
        attributes={"stories": 2},
        contacts=people,
    )

    assert made | {"id": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "address": {**ADDRESS, "country": None},
        "year_built": 1987,
        "property_type": "SFR",
        "attributes": {"stories": 2},
        "contacts": [
            {
                "contact_id": str(ada.id),
                "role": "primary",
                "phone": number(1),
                "first_name": "Ada",
                "last_name": "Rossi",
            },
            {
                "contact_id": str(leo.id),
                "role": "secondary",
                "phone": number(2),
                "first_name": "Leo",
                "last_name": None,
            },
        ],
        "created_at": "",
        "updated_at": "",
    }
    assert (await client.get(f"{PATH}/{made['id']}")).json() == made
    for contact in (ada, leo):
        theirs = await client.get(f"/v1/contacts/{contact.id}/properties")
        assert theirs.json() == {"data": [made], "next_cursor": None}


async def test_address_in_another_format_is_the_same_property(client: httpx.AsyncClient) -> None:
    made = await create_property(client)
    other = {"street": "12 MAIN ST #4", "postal_code": "02169-1234"}

    again = await client.post(PATH, json={"address": other})
    found = await client.get(f"{PATH}/by-address", params=other)

    assert (again.status_code, again.json()["code"]) == (409, "property_exists")
    assert again.json()["property_id"] == made["id"]
    assert found.json() == made


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/address", "missing"),
        ({"address": {"street": "12 Main St"}}, "/address", "incomplete_address"),
        ({"address": {"street": "#", "postal_code": "02169"}}, "/address", "incomplete_address"),
        ({"address": {**ADDRESS, "zip": "1"}}, "/address/zip", "unknown_field"),
        ({"address": ADDRESS, "year_built": 187}, "/year_built", "greater_than_equal"),
        (
            {"address": ADDRESS, "contacts": [{"contact_id": UNKNOWN_CONTACT}]},
            "/contacts/0/contact_id",
            "contact_not_found",
        ),
    ],
)
async def test_invalid_property_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str, code: str
) -> None:
    assert faults(await client.post(PATH, json=body)) == [(pointer, code)]
    assert await list_streets(client) == []


async def test_look_up_needs_more_than_a_street(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{PATH}/by-address", params={"street": "12 Main St", "city": "Q"})

    assert (answer.status_code, answer.json()["code"]) == (422, "incomplete_address")


async def test_properties_are_listed_newest_first_and_by_address(
    client: httpx.AsyncClient,
) -> None:
    streets = ["9 Main St", "12 Main St", "120 Main St", "12 Main St #2", "12 Oak Ave"]
    for street in streets:
        await create_property(client, address={"street": street, "postal_code": "02169"})

    assert await list_streets(client) == streets[::-1]
    assert await list_streets(client, q="12 MAIN street") == ["12 Main St #2", "12 Main St"]
    assert await list_streets(client, q="12 ma") == ["12 Main St #2", "12 Main St"]
    assert await list_streets(client, q="12") == [
        "12 Main St #2",
        "12 Main St",
        "12 Oak Ave",
        "120 Main St",
    ]
    assert await list_streets(client, q="...") == []


@pytest.mark.parametrize("q", ["", "12 main"])
async def test_cursor_of_another_list_is_refused(client: httpx.AsyncClient, q: str) -> None:
    for street in ("12 Main St", "12 Main St #2", "12 Main St #3"):
        await create_property(client, address={"street": street, "postal_code": "02169"})
    other = "" if q else "12 main"
    cursor = (await client.get(PATH, params={"q": other, "limit": 1})).json()["next_cursor"]

    for wrong in (cursor, "xyz", "e30"):
        answer = await client.get(PATH, params={"q": q, "cursor": wrong})
        assert faults(answer) == [("/cursor", "invalid_cursor")]


async def test_patch_changes_only_the_given_fields_of_a_property(client: httpx.AsyncClient) -> None:
    made = await create_property(
        client, year_built=1987, attributes={"stories": 2, "roof": "slate"}
    )
    path = f"{PATH}/{made['id']}"

    changed = await client.patch(
        path,
        json={
            "address": {"street": "14 Main St"},
            "year_built": None,
            "attributes": {"stories": None, "x": 1},
        },
    )
    same = await client.patch(path, json={"property_type": None})
    moved = await client.get(
        f"{PATH}/by-address", params={"street": "14 Main Street", "postal_code": "02169"}
    )

    assert changed.json()["address"] == {**ADDRESS, "street": "14 Main St", "country": None}
    assert changed.json()["year_built"] is None
    assert changed.json()["attributes"] == {"roof": "slate", "x": 1}
    assert same.json() == changed.json()
    assert moved.json() == changed.json()


async def test_address_of_another_property_cannot_be_used(client: httpx.AsyncClient) -> None:
    await create_property(client)
    other = await create_property(client, address={"street": "14 Oak Ave", "postal_code": "02169"})
    path = f"{PATH}/{other['id']}"

    taken = await client.patch(path, json={"address": ADDRESS})
    nowhere = await client.patch(path, json={"address": {"postal_code": None}})

    assert (taken.status_code, taken.json()["code"]) == (409, "property_exists")
    assert faults(nowhere) == [("/address", "incomplete_address")]
    assert (await client.get(path)).json() == other


async def test_merged_attributes_have_a_limit(client: httpx.AsyncClient) -> None:
    made = await create_property(client, attributes={"notes": "x" * 9_000})

    answer = await client.patch(f"{PATH}/{made['id']}", json={"attributes": {"more": "x" * 9_000}})

    assert faults(answer) == [("/attributes", "invalid_property_attributes")]


async def test_contacts_are_attached_and_detached(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    path = f"{PATH}/{(await create_property(client))['id']}/contacts"
    body = {"contact_id": str(contact.id)}

    first = await client.post(path, json=body)
    again = await client.post(path, json=body | {"role": "primary"})
    gone = await client.delete(f"{path}/{contact.id}")
    twice = await client.delete(f"{path}/{contact.id}")
    unknown = await client.post(path, json={"contact_id": UNKNOWN_CONTACT})

    assert [one["role"] for one in first.json()["contacts"]] == ["other"]
    assert [one["role"] for one in again.json()["contacts"]] == ["primary"]
    assert gone.status_code == 204
    assert (twice.status_code, twice.json()["code"]) == (404, "property_contact_not_found")
    assert faults(unknown) == [("/contact_id", "contact_not_found")]


async def test_merged_duplicate_is_attached_as_its_primary(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(0))
    duplicate = await make_contact(session, phone=number(1))
    merged = {"primary_id": str(ada.id), "duplicate_ids": [str(duplicate.id)]}
    await client.post("/v1/contacts/merge", json=merged)

    people = [{"contact_id": str(one.id), "role": "primary"} for one in (duplicate, ada)]
    made = await create_property(client, contacts=people)

    assert [one["contact_id"] for one in made["contacts"]] == [str(ada.id)]


async def test_number_of_contacts_of_a_property_has_a_limit(
    client: httpx.AsyncClient, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_CONTACTS", 1)
    path = f"{PATH}/{(await create_property(client))['id']}/contacts"
    answers = []

    for position in range(2):
        contact = await make_contact(session, phone=number(position))
        answers.append(await client.post(path, json={"contact_id": str(contact.id)}))

    assert answers[0].status_code == 200
    assert (answers[1].status_code, answers[1].json()["code"]) == (
        409,
        "too_many_property_contacts",
    )
    assert schemas.MOST_CONTACTS == 50


async def test_properties_of_a_contact_are_listed_last_attached_first(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    people = [{"contact_id": str(contact.id)}]
    for street in ("1 Oak St", "2 Oak St", "3 Oak St"):
        await create_property(
            client, address={"street": street, "postal_code": "02169"}, contacts=people
        )
    await create_property(client)

    streets = await list_streets(client, f"/v1/contacts/{contact.id}/properties")
    unknown = await client.get(f"/v1/contacts/{UNKNOWN_CONTACT}/properties")

    assert streets == ["3 Oak St", "2 Oak St", "1 Oak St"]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "contact_not_found")


async def test_deleting_a_property_keeps_its_contacts(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    made = await create_property(client, contacts=[{"contact_id": str(contact.id)}])

    gone = await client.delete(f"{PATH}/{made['id']}")

    assert gone.status_code == 204
    assert await list_streets(client) == []
    assert (await client.get(f"/v1/contacts/{contact.id}")).status_code == 200


async def test_deleted_contact_belongs_to_no_property(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    made = await create_property(client, contacts=[{"contact_id": str(contact.id)}])

    await client.delete(f"/v1/contacts/{contact.id}")
    revived = await client.post("/v1/contacts", json={"phone": contact.phone})

    assert revived.json()["id"] == str(contact.id)
    assert (await client.get(f"{PATH}/{made['id']}")).json()["contacts"] == []
    assert (await session.execute(text("SELECT count(*) FROM property_contact"))).scalar_one() == 0
