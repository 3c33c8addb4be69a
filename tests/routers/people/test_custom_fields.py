"""Tests of custom fields: authorisation, definitions, and checks of contacts."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, number
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.people.custom_fields import service
from crm_api.domain.people.models.contacts import CustomField
from crm_api.platform.jobs import JobName

PATH = "/v1/custom-fields"
UNKNOWN_FIELD = f"{PATH}/00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
ROUTES = [
    ("POST", PATH, WRITE),
    ("GET", PATH, READ),
    ("GET", UNKNOWN_FIELD, READ),
    ("PATCH", UNKNOWN_FIELD, WRITE),
    ("DELETE", UNKNOWN_FIELD, WRITE),
]
YEAR = {"name": "year_built", "label": "Year built", "type": "integer"}
ROOF = {"name": "roof", "type": "choice", "choices": ["Slate", "Shingle"]}


async def define_field(client: httpx.AsyncClient, **body: Any) -> Any:
    response = await client.post(PATH, json=body)
    assert response.status_code == 201, response.text
    return response.json()


async def create_contact(client: httpx.AsyncClient, **body: Any) -> Any:
    response = await client.post("/v1/contacts", json={"phone": number(1)} | body)
    assert response.status_code == 201, response.text
    return response.json()


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


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_unknown_field_is_404(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, UNKNOWN_FIELD, json={} if method == "PATCH" else None)

    assert response.status_code == 404
    assert response.json()["code"] == "custom_field_not_found"


async def test_field_is_defined_shown_and_listed(
    client: httpx.AsyncClient, queue: RecordingQueue
) -> None:
    made = await define_field(client, **YEAR)

    assert made | {"id": "", "created_at": "", "updated_at": ""} == {
        **YEAR,
        "id": "",
        "choices": [],
        "required": False,
        "is_applied": False,
        "archived_at": None,
        "created_at": "",
        "updated_at": "",
    }
    assert (await client.get(f"{PATH}/{made['id']}")).json() == made
    assert (await client.get(PATH)).json() == {"data": [made], "next_cursor": None}
    assert JobName.APPLY_CUSTOM_FIELDS in queue.names


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"name": "year built", "type": "integer"}, "/name", "string_pattern_mismatch"),
        ({"name": "year", "type": "whole"}, "/type", "enum"),
        ({"name": "roof", "type": "choice"}, "/choices", "invalid_choices"),
        ({"name": "roof", "type": "text", "choices": ["a"]}, "/choices", "invalid_choices"),
        (ROOF | {"choices": ["slate", "Slate"]}, "/choices", "choices_alike"),
    ],
)
async def test_invalid_definition_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str, code: str
) -> None:
    assert faults(await client.post(PATH, json=body)) == [(pointer, code)]


async def test_second_field_of_the_same_name_is_refused(client: httpx.AsyncClient) -> None:
    made = await define_field(client, **YEAR)

    for dry_run in (False, True):
        answer = await client.post(PATH, json=YEAR, params={"dry_run": dry_run})
        assert answer.status_code == 409
        assert answer.json()["code"] == "custom_field_exists"
        assert answer.json()["custom_field_id"] == made["id"]


async def test_number_of_fields_has_a_limit(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_FIELDS", 1)
    await define_field(client, **YEAR)

    answer = await client.post(PATH, json=ROOF)

    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_custom_fields")
    assert len((await client.get(PATH)).json()["data"]) == 1


async def test_attributes_of_a_new_contact_are_checked_and_stored_in_their_type(
    client: httpx.AsyncClient,
) -> None:
    await define_field(client, **YEAR)
    await define_field(client, **ROOF)

    wrong = await client.post(
        "/v1/contacts",
        json={"phone": number(1), "attributes": {"year_built": "old", "roof": "straw", "free": []}},
    )
    right = await create_contact(
        client, attributes={"year_built": "1,987", "roof": "slate", "free": "old", "x": ""}
    )

    assert faults(wrong) == [
        ("/attributes/year_built", "not_integer"),
        ("/attributes/roof", "not_choice"),
    ]
    assert right["attributes"] == {"year_built": 1987, "roof": "Slate", "free": "old", "x": ""}


async def test_attributes_of_a_change_are_checked_and_stored_in_their_type(
    client: httpx.AsyncClient,
) -> None:
    await define_field(client, **YEAR)
    contact = await create_contact(client, attributes={"free": "x"})
    path = f"/v1/contacts/{contact['id']}"

    wrong = await client.patch(path, json={"attributes": {"year_built": "old"}})
    right = await client.patch(path, json={"attributes": {"year_built": "1987"}})
    emptied = await client.patch(path, json={"attributes": {"year_built": ""}})

    assert faults(wrong) == [("/attributes/year_built", "not_integer")]
    assert right.json()["attributes"] == {"free": "x", "year_built": 1987}
    assert emptied.json()["attributes"] == {"free": "x"}


async def test_old_value_that_does_not_fit_allows_other_changes(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    await define_field(client, **YEAR)
    contact.attributes = {"year_built": "old"}
    await session.flush()

    answer = await client.patch(f"/v1/contacts/{contact.id}", json={"attributes": {"roof": "new"}})

    assert answer.json()["attributes"] == {"year_built": "old", "roof": "new"}


async def test_required_attribute_cannot_be_omitted_or_removed(client: httpx.AsyncClient) -> None:
    await define_field(client, **YEAR, required=True)

    missing = await client.post("/v1/contacts", json={"phone": number(1)})
    contact = await create_contact(client, attributes={"year_built": 1987})
    path = f"/v1/contacts/{contact['id']}"
    removed = [
        await client.patch(path, json={"attributes": attributes})
        for attributes in ({"year_built": None}, {"year_built": " "}, None)
    ]
    other = await client.patch(path, json={"attributes": {"roof": "new"}})

    for refused in (missing, *removed):
        assert faults(refused) == [("/attributes/year_built", "required")]
    assert other.json()["attributes"] == {"year_built": 1987, "roof": "new"}


async def create_contacts(session: AsyncSession, *values: Any) -> list[str]:
    """Create one contact for each value of `year_built`; return the ids of the contacts."""
    people = [
        await make_contact(session, phone=number(i), attributes={"year_built": value})
        for i, value in enumerate(values)
    ]
    return [str(one.id) for one in people]


async def test_definition_that_stored_values_do_not_fit_is_refused_with_their_count(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ids = await create_contacts(session, "1,987", 1990, "old", "older", "old")
    await make_contact(session, phone=number(99), attributes={"roof": "slate"})

    tried = await client.post(PATH, json=YEAR, params={"dry_run": True})
    refused = await client.post(PATH, json=YEAR)

    assert tried.status_code == 200
    fit = tried.json()
    assert (fit["fitting"], fit["rewritten"], fit["misfits"]) == (1, 1, 3)
    shown = {one["value"]: one["contact_id"] for one in fit["examples"]}
    assert shown == {"old": ids[2], "older": ids[3]}
    assert (refused.status_code, refused.json()["code"]) == (409, "values_do_not_fit")
    assert refused.json()["misfits"] == 3
    assert await session.scalar(select(func.count()).select_from(CustomField)) == 0


async def test_dry_run_defines_and_changes_nothing(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_contacts(session, "1987")
    tried = await client.post(PATH, json=YEAR, params={"dry_run": True})
    made = await define_field(client, **YEAR | {"type": "text"})
    retyped = await client.patch(
        f"{PATH}/{made['id']}", json={"type": "integer"}, params={"dry_run": True}
    )

    for fit in (tried, retyped):
        assert fit.status_code == 200
        assert fit.json() == {"fitting": 0, "rewritten": 1, "misfits": 0, "examples": []}
    assert (await client.get(f"{PATH}/{made['id']}")).json()["type"] == "text"


async def test_type_changes_only_if_every_value_fits(
    client: httpx.AsyncClient, session: AsyncSession, queue: RecordingQueue
) -> None:
    await create_contacts(session, "1987", "1,990", "12.5")
    made = await define_field(client, **YEAR | {"type": "text"})
    path = f"{PATH}/{made['id']}"
    await session.execute(text("UPDATE custom_field SET applied_at = now()"))
    queue.jobs.clear()

    refused = await client.patch(path, json={"type": "integer"})
    changed = await client.patch(path, json={"type": "number"})

    assert (refused.status_code, refused.json()["misfits"]) == (409, 1)
    assert (changed.json()["type"], changed.json()["is_applied"]) == ("number", False)
    assert queue.names == [JobName.APPLY_CUSTOM_FIELDS]


async def test_label_changes_without_reading_the_values(
    client: httpx.AsyncClient, session: AsyncSession, queue: RecordingQueue
) -> None:
    made = await define_field(client, **ROOF)
    await session.execute(text("UPDATE custom_field SET applied_at = now()"))
    queue.jobs.clear()

    changed = await client.patch(
        f"{PATH}/{made['id']}", json={"label": "Roof", "required": True, "type": "choice"}
    )

    assert changed.json() | {"label": "Roof", "required": True} == changed.json()
    assert changed.json()["is_applied"]
    assert changed.json()["choices"] == ["Slate", "Shingle"]
    assert queue.names == []


async def test_choice_in_use_cannot_be_removed(client: httpx.AsyncClient) -> None:
    made = await define_field(client, **ROOF)
    path = f"{PATH}/{made['id']}"
    await create_contact(client, attributes={"roof": "slate"})

    refused = await client.patch(path, json={"choices": ["Shingle"]})
    more = await client.patch(path, json={"choices": ["Slate", "Shingle", "Tar"]})
    none = await client.patch(path, json={"choices": []})
    as_text = await client.patch(path, json={"type": "text"})

    assert (refused.status_code, refused.json()["misfits"]) == (409, 1)
    assert more.json()["choices"] == ["Slate", "Shingle", "Tar"]
    assert faults(none) == [("/choices", "invalid_choices")]
    assert (as_text.json()["type"], as_text.json()["choices"]) == ("text", [])


async def test_deleted_field_is_not_checked_and_its_name_can_be_used_again(
    client: httpx.AsyncClient,
) -> None:
    made = await define_field(client, **YEAR)
    path = f"{PATH}/{made['id']}"
    contact = await create_contact(client, attributes={"year_built": 1987})

    gone = [await client.delete(path), await client.delete(path)]
    free = await client.patch(
        f"/v1/contacts/{contact['id']}", json={"attributes": {"year_built": "old"}}
    )
    changed = await client.patch(path, json={"label": "Year"})
    listed = (await client.get(PATH)).json()["data"]
    archived = (await client.get(PATH, params={"archived": True})).json()["data"]

    assert [answer.status_code for answer in gone] == [204, 204]
    assert free.json()["attributes"] == {"year_built": "old"}
    assert (changed.status_code, changed.json()["code"]) == (409, "custom_field_archived")
    assert listed == []
    assert [one["id"] for one in archived] == [made["id"]]
    assert archived[0]["archived_at"] is not None
    assert (await client.post(PATH, json=YEAR)).json()["code"] == "values_do_not_fit"
    await define_field(client, **YEAR | {"type": "text"})
