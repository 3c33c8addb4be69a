"""Tests of the contact routes: authorisation, input and responses."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, number

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWorkFactory

UNKNOWN_CONTACT = "/v1/contacts/00000000-0000-7000-8000-000000000000"
PHONE = "+16175550123"
KeyWith = Callable[..., Awaitable[dict[str, str]]]

READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
ROUTES = [
    ("POST", "/v1/contacts", WRITE),
    ("GET", "/v1/contacts", READ),
    ("GET", "/v1/contacts/by-phone/6175550123", READ),
    ("GET", UNKNOWN_CONTACT, READ),
    ("PATCH", UNKNOWN_CONTACT, WRITE),
    ("DELETE", UNKNOWN_CONTACT, WRITE),
    ("GET", f"{UNKNOWN_CONTACT}/timeline", READ),
    ("POST", f"{UNKNOWN_CONTACT}/opt-out", WRITE),
    ("POST", f"{UNKNOWN_CONTACT}/opt-in", WRITE),
    ("POST", f"{UNKNOWN_CONTACT}/flags", WRITE),
    ("DELETE", f"{UNKNOWN_CONTACT}/flags/vip", WRITE),
    ("GET", f"{UNKNOWN_CONTACT}/consent-history", READ),
]


async def create_contact(client: httpx.AsyncClient, **values: Any) -> Any:
    response = await client.post("/v1/contacts", json={"phone": PHONE, **values})
    assert response.status_code == 201, response.text
    return response.json()


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return {fault["pointer"]: fault["code"] for fault in response.json()["errors"]}


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_is_refused(
    client: httpx.AsyncClient, method: str, path: str, scope: Scope
) -> None:
    del client.headers["Authorization"]

    response = await client.request(method, path, json={})

    assert response.status_code == 401, scope
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["code"] == "missing_credentials"


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    other = READ if scope is WRITE else WRITE

    response = await client.request(method, path, json={}, headers=await key_with(other))

    assert response.status_code == 403
    assert response.json()["required_scope"] == scope


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", UNKNOWN_CONTACT, None),
        ("PATCH", UNKNOWN_CONTACT, {"first_name": "x"}),
        ("DELETE", UNKNOWN_CONTACT, None),
        ("GET", f"{UNKNOWN_CONTACT}/timeline", None),
        ("GET", f"{UNKNOWN_CONTACT}/consent-history", None),
        ("POST", f"{UNKNOWN_CONTACT}/opt-out", {"reason": "x"}),
        ("POST", f"{UNKNOWN_CONTACT}/opt-in", {"reason": "x"}),
        ("POST", f"{UNKNOWN_CONTACT}/flags", {"flag": "vip"}),
        ("DELETE", f"{UNKNOWN_CONTACT}/flags/vip", None),
        ("GET", "/v1/contacts/by-phone/6175550123", None),
    ],
)
async def test_unknown_contact_is_404(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None
) -> None:
    response = await client.request(method, path, json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "contact_not_found"


async def test_contact_is_created_with_every_field(client: httpx.AsyncClient) -> None:
    given = {
        "phone": "(617) 555-0123",
        "first_name": "Ada",
        "last_name": "Rossi",
        "email": "ada@Example.com",
        "company": "Granite",
        "address": {
            "street": "1 Main St",
            "city": "Quincy",
            "state": "MA",
            "postal_code": "02169",
            "country": "US",
        },
        "timezone": "America/New_York",
        "tags": ["vip"],
        "attributes": {"roof": "slate", "beds": 3},
    }

    made = await create_contact(client, **given)

    assert made == {
        **given,
        "phone": PHONE,
        "email": "ada@example.com",
        "id": made["id"],
        "opted_out": False,
        "flags": [],
        "line_type": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    assert made["created_at"].endswith("Z")
    assert (await client.get(f"/v1/contacts/{made['id']}")).json() == made
    assert (await client.get("/v1/contacts/by-phone/617.555.0123")).json() == made


async def test_state_is_stored_as_its_code(client: httpx.AsyncClient) -> None:
    made = await create_contact(client, address={"state": "Tex."})
    path = f"/v1/contacts/{made['id']}"

    changed = await client.patch(path, json={"address": {"state": "Puerto Rico"}})
    abroad = await client.patch(path, json={"address": {"state": "Jalisco", "country": "MX"}})

    assert made["address"]["state"] == "TX"
    assert changed.json()["address"]["state"] == "PR"
    assert abroad.json()["address"]["state"] == "Jalisco"


@pytest.mark.parametrize("state", ["ZZ", "Carolina", "Jalisco"])
async def test_unknown_state_is_refused(client: httpx.AsyncClient, state: str) -> None:
    made = await create_contact(client)
    body = {"address": {"state": state}}

    answers = [
        await client.post("/v1/contacts", json={"phone": "617 555 0124"} | body),
        await client.patch(f"/v1/contacts/{made['id']}", json=body),
    ]

    assert {answer.status_code for answer in answers} == {422}
    errors = [answer.json()["errors"] for answer in answers]
    assert errors[0] == errors[1]
    assert (errors[0][0]["pointer"], errors[0][0]["code"]) == ("/address/state", "unknown_state")


async def test_existing_number_is_409_with_its_contact(client: httpx.AsyncClient) -> None:
    made = await create_contact(client)

    response = await client.post("/v1/contacts", json={"phone": "617 555 0123"})

    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["code"], problem["contact_id"]) == ("contact_exists", made["id"])


async def test_concurrent_creates_of_a_number_make_one_contact(
    committed_client: httpx.AsyncClient, committed_uow: UnitOfWorkFactory
) -> None:
    answers = await asyncio.gather(
        *(committed_client.post("/v1/contacts", json={"phone": PHONE}) for _ in range(6))
    )

    async with committed_uow() as uow:
        count = await uow.session.scalar(select(func.count()).select_from(Contact))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert len({answer.json().get("contact_id") or answer.json()["id"] for answer in answers}) == 1
    assert count == 1


async def test_concurrent_creates_of_a_deleted_number_restore_one_contact(
    committed_client: httpx.AsyncClient,
) -> None:
    made = await create_contact(committed_client)
    await committed_client.delete(f"/v1/contacts/{made['id']}")

    answers = await asyncio.gather(
        *(committed_client.post("/v1/contacts", json={"phone": PHONE}) for _ in range(4))
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json().get("contact_id") or answer.json()["id"] for answer in answers} == {
        made["id"]
    }


async def test_concurrent_changes_to_the_same_number_succeed_once(
    committed_client: httpx.AsyncClient,
) -> None:
    ids = [(await create_contact(committed_client, phone=number(one)))["id"] for one in (1, 2)]

    answers = await asyncio.gather(
        *(
            committed_client.patch(f"/v1/contacts/{one}", json={"phone": "+16175550199"})
            for one in ids
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"/phone": "missing"}),
        ({"phone": None}, {"/phone": "phone_not_text"}),
        ({"phone": 6175550123}, {"/phone": "phone_not_text"}),
        ({"phone": True}, {"/phone": "phone_not_text"}),
        ({"phone": "617"}, {"/phone": "invalid_phone"}),
        ({"phone": PHONE, "first_nam": "x"}, {"/first_nam": "unknown_field"}),
        ({"phone": PHONE, "address": {"zip": "1"}}, {"/address/zip": "unknown_field"}),
        ({"phone": PHONE, "first_name": "x" * 201}, {"/first_name": "string_too_long"}),
        ({"phone": PHONE, "first_name": "a\x00b"}, {"/first_name": "nul_character"}),
        ({"phone": PHONE, "first_name": "\ud83d"}, {"/first_name": "string_unicode"}),
        ({"phone": PHONE, "email": "ada"}, {"/email": "value_error"}),
        ({"phone": PHONE, "timezone": "Mars/Base"}, {"/timezone": "unknown_timezone"}),
        ({"phone": PHONE, "timezone": "../etc/passwd"}, {"/timezone": "unknown_timezone"}),
        ({"phone": PHONE, "timezone": "localtime"}, {"/timezone": "unknown_timezone"}),
        ({"phone": PHONE, "tags": [""]}, {"/tags": "tag_length"}),
        ({"phone": PHONE, "tags": ["x" * 65]}, {"/tags": "tag_length"}),
        ({"phone": PHONE, "tags": [str(n) for n in range(51)]}, {"/tags": "too_many_tags"}),
        ({"phone": PHONE, "tags": "vip"}, {"/tags": "list_type"}),
        ({"phone": PHONE, "attributes": []}, {"/attributes": "dict_type"}),
        ({"phone": PHONE, "attributes": {"a": "\x00"}}, {"/attributes": "nul_character"}),
        ({"phone": PHONE, "attributes": {"a": "\udc00"}}, {"/attributes": "not_unicode"}),
        ({"phone": PHONE, "attributes": {"a" * 65: 1}}, {"/attributes": "attribute_name"}),
        (
            {"phone": PHONE, "attributes": {str(n): 1 for n in range(101)}},
            {"/attributes": "too_many_attributes"},
        ),
        (
            {"phone": PHONE, "attributes": {"a": "x" * 17_000}},
            {"/attributes": "attributes_too_large"},
        ),
        (
            {"phone": PHONE, "attributes": {"a": [[[[[[[[[1]]]]]]]]]}},
            {"/attributes": "too_deep"},
        ),
    ],
)
async def test_invalid_input_is_422_with_its_pointer(
    client: httpx.AsyncClient, body: dict[str, Any], expected: dict[str, str]
) -> None:
    # `json.dumps` escapes all non-ASCII characters. A body with a lone surrogate (half of a UTF-16
    # pair) could not be encoded otherwise.
    response = await client.post(
        "/v1/contacts", content=json.dumps(body), headers={"content-type": "application/json"}
    )

    assert faults(response) == expected


async def test_nan_is_refused_as_an_attribute(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/contacts",
        content='{"phone": "+16175550123", "attributes": {"a": NaN}}',
        headers={"content-type": "application/json"},
    )

    assert response.status_code in {400, 422}


async def test_blank_fields_are_null(client: httpx.AsyncClient) -> None:
    made = await create_contact(
        client, first_name="  ", email="", timezone="", address=None, tags=None, attributes=None
    )

    assert (made["first_name"], made["email"], made["timezone"]) == (None, None, None)
    assert (made["tags"], made["attributes"]) == ([], {})
    assert set(made["address"].values()) == {None}


async def test_patch_changes_only_the_given_fields(client: httpx.AsyncClient) -> None:
    made = await create_contact(client, first_name="Ada", last_name="Rossi")

    response = await client.patch(
        f"/v1/contacts/{made['id']}", json={"first_name": None, "phone": "305 555 0124"}
    )

    assert response.status_code == 200
    changed = response.json()
    assert (changed["first_name"], changed["last_name"]) == (None, "Rossi")
    assert changed["phone"] == "+13055550124"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"phone": None}, {"/phone": "phone_not_text"}),
        ({"id": "x"}, {"/id": "unknown_field"}),
        ({"opted_out": False}, {"/opted_out": "unknown_field"}),
        ({"attributes": {"a" * 65: 1}}, {"/attributes": "attribute_name"}),
    ],
)
async def test_patch_with_invalid_input_is_422(
    client: httpx.AsyncClient, body: dict[str, Any], expected: dict[str, str]
) -> None:
    made = await create_contact(client)

    assert faults(await client.patch(f"/v1/contacts/{made['id']}", json=body)) == expected


async def test_merged_attributes_over_the_limit_are_422(client: httpx.AsyncClient) -> None:
    made = await create_contact(client, attributes={"a": "x" * 10_000})

    response = await client.patch(
        f"/v1/contacts/{made['id']}", json={"attributes": {"b": "x" * 10_000}}
    )

    assert faults(response) == {"/attributes": "invalid_attributes"}


async def test_deleted_contact_is_not_found_and_its_opt_out_remains(
    client: httpx.AsyncClient,
) -> None:
    made = await create_contact(client, first_name="Ada")
    path = f"/v1/contacts/{made['id']}"
    await client.post(f"{path}/opt-out", json={"reason": "asked by phone"})

    response = await client.delete(path)
    gone = await client.get(path)
    again = await create_contact(client)

    assert (response.status_code, response.content) == (204, b"")
    assert gone.status_code == 404
    assert (again["id"], again["first_name"]) == (made["id"], None)
    assert (again["opted_out"], again["flags"]) == (True, ["opted_out"])


async def test_list_is_filtered_and_paged(client: httpx.AsyncClient) -> None:
    for position in range(3):
        await create_contact(
            client, phone=number(position), tags=["vip"], first_name=f"Ada{position}"
        )
    await create_contact(client, phone=number(9), first_name="Eve")

    first = (await client.get("/v1/contacts?tag=vip&limit=2")).json()
    second = (await client.get(f"/v1/contacts?tag=vip&cursor={first['next_cursor']}")).json()
    found = (await client.get("/v1/contacts", params={"q": "eve 0009"})).json()

    assert [one["first_name"] for one in first["data"] + second["data"]] == [
        "Ada2",
        "Ada1",
        "Ada0",
    ]
    assert second["next_cursor"] is None
    assert [one["first_name"] for one in found["data"]] == ["Eve"]


async def test_number_in_a_query_may_have_any_format(client: httpx.AsyncClient) -> None:
    await create_contact(client)

    for params in ({"q": "(617) 555-0123"}, {"q": "+16175550123"}, {"phone": "617.555.0123"}):
        found = (await client.get("/v1/contacts", params=params)).json()["data"]
        assert [one["phone"] for one in found] == [PHONE]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("cursor=x", "/cursor"),
        ("opted_out=perhaps", "/opted_out"),
        ("list_id=x", "/list_id"),
        ("phone=617", "/phone"),
        ("q=%00", "/q"),
        ("q=%26%20-", "/q"),
        ("sort=phone", "/sort"),
        ("has_email=perhaps", "/has_email"),
        ("updated_after=today", "/updated_after"),
        ("flag=a/b", "/flag"),
        ("created_after=yesterday", "/created_after"),
        ("created_after=2026-11-25T10:00:00", "/created_after"),
        ("created_before=0001-01-01T00:00:00%2B14:00", "/created_before"),
    ],
)
async def test_invalid_query_is_422_with_its_pointer(
    client: httpx.AsyncClient, query: str, pointer: str
) -> None:
    assert list(faults(await client.get(f"/v1/contacts?{query}"))) == [pointer]


async def test_by_phone_with_an_invalid_number_is_422(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/contacts/by-phone/617")

    assert faults(response) == {"/phone": "invalid_phone"}


async def test_opt_out_and_opt_in_are_shown_and_recorded(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"

    out = await client.post(f"{path}/opt-out", json={"reason": "by phone", "note": "at 9"})
    back = await client.post(f"{path}/opt-in", json={"reason": "signed a form"})
    history = (await client.get(f"{path}/consent-history")).json()

    assert (out.status_code, out.json()["opted_out"]) == (200, True)
    assert (back.status_code, back.json()["opted_out"]) == (200, False)
    assert history["next_cursor"] is None
    assert [entry["action"] for entry in history["data"]] == ["opt_in", "opt_out"]
    oldest = history["data"][1]
    assert (oldest["reason"], oldest["note"]) == ("by phone", "at 9")
    assert (oldest["source"], oldest["actor"]) == ("api", "bootstrap")
    assert oldest["evidence"] == {"under_way": []}


async def test_opt_in_stores_its_proof(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"
    proof = {
        "source": "web_form",
        "text_shown": "I agree to get texts from Granite Foundations. Reply STOP to end them.",
        "evidence": {"page": "https://granite.example/quote", "at": "2026-11-20T10:00:00Z"},
    }

    answer = await client.post(f"{path}/opt-in", json={"reason": "asked for a quote", **proof})

    [entry] = (await client.get(f"{path}/consent-history")).json()["data"]
    assert answer.status_code == 200
    assert {name: entry[name] for name in proof} == proof
    assert (entry["action"], entry["actor"]) == ("opt_in", "bootstrap")


async def test_each_opt_out_on_paper_has_its_own_entry(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"

    for _ in range(2):
        await client.post(f"{path}/opt-out", json={"reason": "wrote a letter", "source": "paper"})

    history = (await client.get(f"{path}/consent-history")).json()["data"]
    assert [entry["source"] for entry in history] == ["paper", "paper"]


@pytest.mark.parametrize(
    ("proof", "pointer", "code"),
    [
        ({"source": "telepathy"}, "/source", "enum"),
        ({"text_shown": "x" * 10_001}, "/text_shown", "string_too_long"),
        ({"text_shown": "a\x00b"}, "/text_shown", "nul_character"),
        ({"evidence": []}, "/evidence", "dict_type"),
        ({"evidence": {"form": "x" * 20_000}}, "/evidence", "evidence_too_large"),
        ({"evidence": {"form": "a\x00b"}}, "/evidence", "nul_character"),
    ],
)
async def test_proof_that_cannot_be_stored_is_422(
    client: httpx.AsyncClient, proof: dict[str, Any], pointer: str, code: str
) -> None:
    body = {"reason": "asked", **proof}

    for act in ("opt-in", "opt-out"):
        assert faults(await client.post(f"{UNKNOWN_CONTACT}/{act}", json=body)) == {pointer: code}


async def test_evidence_that_cannot_be_stored_as_json_is_422(client: httpx.AsyncClient) -> None:
    raw = '{"reason": "x", "evidence": {"n": "\\ud800"}}'

    response = await client.post(
        f"{UNKNOWN_CONTACT}/opt-in", content=raw, headers={"content-type": "application/json"}
    )

    assert response.status_code == 422


async def test_evidence_may_contain_a_backslash(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"
    evidence = {"pattern": "\\u0000"}

    answer = await client.post(f"{path}/opt-in", json={"reason": "x", "evidence": evidence})

    [entry] = (await client.get(f"{path}/consent-history")).json()["data"]
    assert answer.status_code == 200
    assert entry["evidence"] == evidence


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": None}, {"reason": "\x00"}])
async def test_opt_out_without_a_reason_is_422(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    response = await client.post(f"{UNKNOWN_CONTACT}/opt-out", json=body)

    assert list(faults(response)) == ["/reason"]


async def test_flags_are_added_and_removed(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"

    for flag in ("VIP customer", "opt_out_hold", "do_not_contact"):
        response = await client.post(f"{path}/flags", json={"flag": flag, "reason": "r"})
        assert response.status_code == 201
    shown = (await client.get(path)).json()["flags"]
    removed = await client.delete(f"{path}/flags/VIP customer")
    again = await client.delete(f"{path}/flags/VIP customer")
    released = await client.delete(f"{path}/flags/opt_out_hold")

    assert set(shown) == {"VIP customer", "do_not_contact", "opt_out_hold"}
    assert (removed.status_code, released.status_code) == (204, 204)
    assert (again.status_code, again.json()["code"]) == (404, "flag_not_found")
    assert (await client.get(path)).json()["flags"] == ["do_not_contact"]


async def test_flag_ends_at_its_expiry(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"

    for flag, year in (("past", "2020"), ("future", "2999")):
        await client.post(
            f"{path}/flags", json={"flag": flag, "expires_at": f"{year}-01-01T00:00:00Z"}
        )

    assert (await client.get(path)).json()["flags"] == ["future"]


async def test_opt_out_with_an_expiry_is_422(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"

    response = await client.post(
        f"{path}/flags", json={"flag": "opted_out", "expires_at": "2999-01-01T00:00:00Z"}
    )

    assert faults(response) == {"/expires_at": "consent_does_not_expire"}
    assert (await client.get(path)).json()["flags"] == []


@pytest.mark.parametrize("flag", ["", " ", "x" * 65, "a/b", "a\x00"])
async def test_invalid_flag_is_422(client: httpx.AsyncClient, flag: str) -> None:
    assert list(faults(await client.post(f"{UNKNOWN_CONTACT}/flags", json={"flag": flag}))) == [
        "/flag"
    ]


async def test_timeline_shows_decisions(client: httpx.AsyncClient) -> None:
    path = f"/v1/contacts/{(await create_contact(client))['id']}"
    await client.post(f"{path}/opt-out", json={"reason": "by phone"})

    page = (await client.get(f"{path}/timeline")).json()

    [item] = page["data"]
    assert page["next_cursor"] is None
    assert (item["type"], item["reason"], item["actor"]) == ("opt_out", "by phone", "bootstrap")
    assert item["at"].endswith("Z")


async def test_decisions_of_other_contacts_are_not_shown(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = await create_contact(client)
    other = await make_contact(session, phone=number(1))
    await session.commit()
    await client.post(f"/v1/contacts/{other.id}/opt-out", json={"reason": "x"})

    for what in ("timeline", "consent-history"):
        assert (await client.get(f"/v1/contacts/{made['id']}/{what}")).json()["data"] == []
