"""Tests of the segment routes: authorisation, input and responses."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member, number

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform import clock

SEGMENTS = "/v1/segments"
UNKNOWN_SEGMENT = f"{SEGMENTS}/00000000-0000-7000-8000-000000000000"
UNKNOWN_ID = "00000000-0000-7000-8000-000000000001"
KeyWith = Callable[..., Awaitable[dict[str, str]]]

READ, WRITE = Scope.CONTACTS_READ, Scope.CONTACTS_WRITE
ROUTES = [
    ("POST", SEGMENTS, WRITE),
    ("GET", SEGMENTS, READ),
    ("GET", f"{SEGMENTS}/fields", READ),
    ("POST", f"{SEGMENTS}/preview", READ),
    ("GET", UNKNOWN_SEGMENT, READ),
    ("PATCH", UNKNOWN_SEGMENT, WRITE),
    ("DELETE", UNKNOWN_SEGMENT, WRITE),
    ("GET", f"{UNKNOWN_SEGMENT}/count", READ),
    ("GET", f"{UNKNOWN_SEGMENT}/contacts", READ),
    ("GET", f"{UNKNOWN_SEGMENT}/contacts/{UNKNOWN_ID}/explain", READ),
]
VIP = {"field": "tags", "op": "contains", "value": "vip"}


async def create_segment(
    client: httpx.AsyncClient, filter_: Any = None, *, name: str = "Best customers"
) -> Any:
    response = await client.post(SEGMENTS, json={"name": name, "filter": filter_ or VIP})
    assert response.status_code == 201, response.text
    return response.json()


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {fault["pointer"]: fault["code"] for fault in response.json()["errors"]}


async def phones_of_segment(client: httpx.AsyncClient, segment: Any) -> list[str]:
    page = await client.get(f"{SEGMENTS}/{segment['id']}/contacts")
    assert page.status_code == 200, page.text
    return [contact["phone"] for contact in page.json()["data"]]


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
    assert response.json()["required_scope"] == scope


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", UNKNOWN_SEGMENT),
        ("PATCH", UNKNOWN_SEGMENT),
        ("DELETE", UNKNOWN_SEGMENT),
        ("GET", f"{UNKNOWN_SEGMENT}/count"),
        ("GET", f"{UNKNOWN_SEGMENT}/contacts"),
        ("GET", f"{UNKNOWN_SEGMENT}/contacts/{UNKNOWN_ID}/explain"),
    ],
)
async def test_unknown_segment_is_not_found(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    response = await client.request(method, path, json={} if method == "PATCH" else None)

    assert response.status_code == 404
    assert response.json()["code"] == "segment_not_found"


async def test_segment_is_stored_unchanged(client: httpx.AsyncClient) -> None:
    filter_ = {"all": [VIP, {"not": {"field": "state", "op": "eq", "value": "FL"}}]}

    made = await create_segment(client, filter_)

    read = (await client.get(f"{SEGMENTS}/{made['id']}")).json()
    assert read == {**made, "missing": []}
    assert (made["name"], made["filter"]) == ("Best customers", filter_)


async def test_segments_are_listed_newest_first(client: httpx.AsyncClient) -> None:
    made = [(await create_segment(client, name=f"Segment {place}"))["id"] for place in range(3)]

    listed: list[str] = []
    cursor = None
    while cursor or not listed:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(SEGMENTS, params=params)).json()
        listed += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]

    assert listed == made[::-1]


async def test_used_name_is_409_with_its_segment(
    client: httpx.AsyncClient,
) -> None:
    made, other = await create_segment(client), await create_segment(client, name="Others")

    again = await client.post(SEGMENTS, json={"name": "Best customers", "filter": VIP})
    renamed = await client.patch(f"{SEGMENTS}/{other['id']}", json={"name": "Best customers"})

    for response in (again, renamed):
        assert response.status_code == 409
        problem = response.json()
        assert (problem["code"], problem["segment_id"]) == ("segment_exists", made["id"])


async def test_name_and_rules_can_be_changed_separately(client: httpx.AsyncClient) -> None:
    made = await create_segment(client)
    path = f"{SEGMENTS}/{made['id']}"
    rule = {"field": "state", "op": "eq", "value": "MA"}

    renamed = (await client.patch(path, json={"name": "New"})).json()
    changed = (await client.patch(path, json={"filter": rule})).json()

    assert (renamed["name"], renamed["filter"]) == ("New", VIP)
    assert (changed["name"], changed["filter"]) == ("New", rule)


async def test_deleted_segment_is_not_found(client: httpx.AsyncClient) -> None:
    made = await create_segment(client)

    response = await client.delete(f"{SEGMENTS}/{made['id']}")

    assert response.status_code == 204
    assert (await client.get(f"{SEGMENTS}/{made['id']}")).status_code == 404


@pytest.mark.parametrize("path", [SEGMENTS, f"{SEGMENTS}/preview"])
async def test_faults_of_rules_have_pointers(client: httpx.AsyncClient, path: str) -> None:
    filter_ = {"all": [VIP, {"field": "frist_name", "op": "eq", "value": "Ada"}]}
    named = {"name": "Segment"} if path == SEGMENTS else {}

    response = await client.post(path, json={"filter": filter_, **named})

    assert faults(response) == {"/filter/all/1/field": "unknown_field"}
    assert response.json()["code"] == "invalid_filter"


async def test_lists_and_campaigns_in_rules_must_exist(
    client: httpx.AsyncClient,
) -> None:
    filter_ = {
        "any": [
            {"field": "lists", "op": "contains", "value": UNKNOWN_ID},
            {"field": "lists", "op": "contains_any", "value": [UNKNOWN_ID]},
            {"field": "campaigns", "op": "contains", "value": {"campaign_id": UNKNOWN_ID}},
        ]
    }

    response = await client.post(SEGMENTS, json={"name": "Segment", "filter": filter_})

    assert faults(response) == {
        "/filter/any/0/value": "unknown_list",
        "/filter/any/1/value/0": "unknown_list",
        "/filter/any/2/value/campaign_id": "unknown_campaign",
    }


async def test_segment_shows_that_a_list_of_its_rules_was_removed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    homeowners = await make_list(session, contacts=[])
    rule = {"field": "lists", "op": "not_contains", "value": str(homeowners.id)}
    made = await create_segment(client, rule)
    await client.delete(f"/v1/lists/{homeowners.id}")

    read = (await client.get(f"{SEGMENTS}/{made['id']}")).json()

    assert [(one["pointer"], one["code"]) for one in read["missing"]] == [
        ("/filter/value", "unknown_list")
    ]


@pytest.mark.parametrize("depth", [11, 100, 1_000, 50_000])
async def test_deeply_nested_rule_is_refused_with_a_detail(
    client: httpx.AsyncClient, depth: int
) -> None:
    rule = '{"not": ' * depth + '{"field": "tags", "op": "is_empty"}' + "}" * depth
    body = f'{{"name": "Deep", "filter": {rule}}}'

    response = await client.post(
        SEGMENTS, content=body, headers={"Content-Type": "application/json"}
    )

    assert set(faults(response).values()) == {"too_deep"}


async def test_contacts_are_paged_newest_first_without_deleted_contacts(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    for place in range(5):
        added = NOW + timedelta(minutes=place // 2)
        await make_contact(session, phone=number(place), tags=["vip"], now=added)
    await make_contact(session, phone=number(5), tags=["VIP"])
    gone = await make_contact(session, phone=number(6), tags=["vip"])
    gone.deleted_at = NOW
    await session.commit()
    made = await create_segment(client)

    listed: list[str] = []
    cursor = None
    while cursor or not listed:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"{SEGMENTS}/{made['id']}/contacts", params=params)).json()
        listed += [one["phone"] for one in page["data"]]
        cursor = page["next_cursor"]

    assert sorted(listed) == [number(place) for place in range(5)]
    assert listed[0] == number(4)
    assert (await client.get(f"{SEGMENTS}/{made['id']}/count")).json() == {"count": 5}


async def test_cursor_of_other_rules_is_refused(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    for place in range(3):
        await make_contact(session, phone=number(place), tags=["vip"])
    await session.commit()
    made = await create_segment(client)
    path = f"{SEGMENTS}/{made['id']}"
    page = (await client.get(f"{path}/contacts", params={"limit": 1})).json()
    await client.patch(path, json={"filter": VIP | {"op": "not_contains"}})

    response = await client.get(f"{path}/contacts", params={"cursor": page["next_cursor"]})

    assert faults(response) == {"/cursor": "invalid_cursor"}


async def test_invalid_cursor_is_refused(client: httpx.AsyncClient) -> None:
    made = await create_segment(client)

    response = await client.get(
        f"{SEGMENTS}/{made['id']}/contacts", params={"cursor": "not a cursor"}
    )

    assert faults(response) == {"/cursor": "invalid_cursor"}


async def test_preview_counts_and_samples(client: httpx.AsyncClient, session: AsyncSession) -> None:
    for place in range(3):
        await make_contact(session, phone=number(place), tags=["vip"])
    await session.commit()

    both = (await client.post(f"{SEGMENTS}/preview", json={"filter": VIP, "limit": 2})).json()
    sampled = await client.post(f"{SEGMENTS}/preview", json={"filter": VIP, "count": False})
    counted = await client.post(f"{SEGMENTS}/preview", json={"filter": VIP, "limit": 0})

    assert both["count"] == 3
    assert [one["tags"] for one in both["sample"]] == [["vip"], ["vip"]]
    assert (sampled.json()["count"], len(sampled.json()["sample"])) == (None, 3)
    assert counted.json() == {"count": 3, "sample": []}


async def test_values_are_never_run_as_sql(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    hostile = "x') OR true; DROP TABLE contact; -- :rule_0 %s $1"
    await make_contact(session, phone=number(0), first_name=hostile, attributes={hostile: 1})
    await make_contact(session, phone=number(1))
    await session.commit()
    filter_ = {
        "all": [
            {"field": "first_name", "op": "eq", "value": hostile},
            {"field": f"attributes.{hostile}", "op": "eq", "value": 1},
        ]
    }

    assert await phones_of_segment(client, await create_segment(client, filter_)) == [number(0)]


async def add_conversation(session: AsyncSession, contact: Contact, *, days_ago: float) -> None:
    line = await make_line(session, phone_number_id=contact.phone)
    session.add(
        Conversation(
            line_id=line.id,
            phone=contact.phone,
            contact_id=contact.id,
            last_activity_at=NOW,
            last_outgoing_at=clock.now() - timedelta(days=days_ago),
            created_at=NOW,
        )
    )


async def test_not_contacted_lately_includes_contacts_without_messages(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    people = [await make_contact(session, phone=number(place)) for place in range(3)]
    await add_conversation(session, people[0], days_ago=29.9)
    await add_conversation(session, people[1], days_ago=30.1)
    await session.commit()
    rule = {"field": "last_contacted_at", "op": "not_within_last", "value": {"days": 30}}

    assert sorted(await phones_of_segment(client, await create_segment(client, rule))) == [
        number(1),
        number(2),
    ]


async def test_explanation_shows_each_rule_and_the_values_of_the_contact(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(
        session, tags=["vip"], attributes={"year_built": "1955"}, state="MA", now=NOW
    )
    homeowners = await make_list(session, contacts=[ada])
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    await make_member(session, campaign=campaign, contact=ada, status="delivered", replied_at=NOW)
    session.add_all(
        ContactFlag(phone=ada.phone, flag_type=flag, expires_at=end, created_at=NOW)
        for flag, end in (("office_number", None), ("my flag", NOW))
    )
    await session.commit()
    campaign_rule = {"campaign_id": str(campaign.id), "status": ["sent"]}
    rules: list[dict[str, Any]] = [
        {"field": "state", "op": "eq", "value": "ma"},
        {"field": "email", "op": "is_empty"},
        {"field": "tags", "op": "contains_all", "value": ["vip", "x"]},
        {"field": "attributes.year_built", "op": "lt", "value": 1960},
        {"field": "lists", "op": "contains", "value": str(homeowners.id)},
        {"field": "flags", "op": "not_contains", "value": "my flag"},
        {"field": "opted_out", "op": "eq", "value": False},
        {"field": "created_at", "op": "after", "value": "2026-11-25T15:00:00Z"},
        {"field": "last_replied_at", "op": "is_empty"},
        {"field": "campaigns", "op": "contains", "value": campaign_rule},
        {"field": "phone", "op": "starts_with", "value": "+1617"},
    ]
    made = await create_segment(client, {"all": [{"any": rules}, {"not": VIP}]})

    answer = await client.get(f"{SEGMENTS}/{made['id']}/contacts/{ada.id}/explain")

    found = answer.json()
    assert (found["segment_id"], found["contact_id"]) == (made["id"], str(ada.id))
    assert found["is_in"] is False
    nodes = {node["pointer"]: node for node in found["nodes"]}
    assert [
        (pointer, node["node"], node["holds"])
        for pointer, node in nodes.items()
        if node["node"] != "rule"
    ] == [
        ("/filter", "all", False),
        ("/filter/all/0", "any", True),
        ("/filter/all/1", "not", False),
    ]
    shown = [nodes[f"/filter/all/0/any/{place}"] for place in range(len(rules))]
    assert [(node["field"], node["op"], node["value"]) for node in shown] == [
        (rule["field"], rule["op"], rule.get("value")) for rule in rules
    ]
    assert [(node["holds"], node["actual"]) for node in shown] == [
        (True, "MA"),
        (True, None),
        (False, ["vip"]),
        (True, "1955"),
        (True, [{"id": str(homeowners.id), "name": "Homeowners"}]),
        (True, ["office_number"]),
        (True, False),
        (False, "2026-11-25T15:00:00.000Z"),
        (True, None),
        (False, {"status": "delivered", "replied": True}),
        (True, "+16175550123"),
    ]


async def test_explanation_of_an_unknown_contact_is_not_found(client: httpx.AsyncClient) -> None:
    made = await create_segment(client)

    answer = await client.get(f"{SEGMENTS}/{made['id']}/contacts/{UNKNOWN_ID}/explain")

    assert (answer.status_code, answer.json()["code"]) == (404, "contact_not_found")


async def test_fields_and_custom_fields_are_listed_with_their_operators(
    client: httpx.AsyncClient,
) -> None:
    field = {"name": "roof", "label": "Roof", "type": "choice", "choices": ["flat", "pitched"]}
    assert (await client.post("/v1/custom-fields", json=field)).status_code == 201

    listed = (await client.get(f"{SEGMENTS}/fields")).json()["data"]

    by_name = {one["name"]: one for one in listed}
    assert by_name["opted_out"] == {
        "name": "opted_out",
        "label": "Opted out",
        "kind": "boolean",
        "operators": ["eq"],
        "type": None,
        "choices": [],
    }
    roof = by_name["attributes.roof"]
    assert (roof["label"], roof["type"], roof["choices"]) == ("Roof", "choice", ["flat", "pitched"])


async def test_openapi_names_the_parts_of_the_rule_language(client: httpx.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]

    named = {"SegmentRule", "SegmentAll", "SegmentAny", "SegmentNot", "SegmentMembership"}
    assert named <= schemas.keys()
    assert "not" in schemas["SegmentNot"]["properties"]
