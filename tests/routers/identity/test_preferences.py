"""Tests of preferences and saved views; each user has separate ones."""

from typing import Any

import httpx
import pytest
from tests.conftest import UNKNOWN_ID
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

VIEW = {"list": "tasks", "name": "Mine, open", "filter": {"assignee": "me", "status": "open"}}
OTHER_EMAIL = "other@granite.example.com"
NOTICES = {
    "mail": [],
    "push": ["reply", "mention", "task"],
    "delay_minutes": 5,
    "quiet_hours": None,
    "quiet_days": [],
    "show_text": False,
}


async def create_user_headers(client: httpx.AsyncClient, **changes: str) -> dict[str, str]:
    await create_active_user(client, **changes)
    form = {"username": changes["email"]} if "email" in changes else {}
    return bearer(await sign_in(client, **form))


async def test_preferences_have_defaults_and_change_separately(
    client: httpx.AsyncClient,
) -> None:
    me = await create_user_headers(client)
    colleague = await create_user_headers(client, email=OTHER_EMAIL)

    before = (await client.get("/v1/preferences", headers=me)).json()
    untouched = await client.patch("/v1/preferences", json={}, headers=me)
    zone = {"timezone": "America/New_York"}
    await client.patch("/v1/preferences", json=zone, headers=me)
    dark = await client.patch("/v1/preferences", json={"theme": "dark"}, headers=me)
    after = (await client.get("/v1/preferences", headers=me)).json()
    cleared = await client.patch("/v1/preferences", json={"timezone": None}, headers=me)

    defaults = {
        "timezone": None,
        "language": "en",
        "theme": "system",
        "notices": NOTICES,
        "updated_at": None,
    }
    assert before == untouched.json() == defaults
    assert dark.json() == after
    assert (after["timezone"], after["language"], after["theme"]) == (
        "America/New_York",
        "en",
        "dark",
    )
    assert cleared.json()["timezone"] is None
    assert (await client.get("/v1/preferences", headers=colleague)).json() == defaults


@pytest.mark.parametrize(
    ("field", "value"),
    [("timezone", "Mars/Base"), ("language", "xx"), ("theme", None), ("sound", True)],
)
async def test_invalid_preference_is_refused(
    client: httpx.AsyncClient, field: str, value: object
) -> None:
    me = await create_user_headers(client)

    refused = await client.patch("/v1/preferences", json={field: value}, headers=me)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == f"/{field}"


async def test_fields_of_notices_change_separately(client: httpx.AsyncClient) -> None:
    me = await create_user_headers(client)
    changes: list[dict[str, Any]] = [
        {"mail": ["mention"], "quiet_hours": {"start": "20:00", "end": "07:30"}},
        {"delay_minutes": 15, "quiet_days": ["sat", "sun"]},
        {"quiet_hours": None, "show_text": True},
    ]

    for change in changes:
        last = await client.patch("/v1/preferences", json={"notices": change}, headers=me)
    theme = await client.patch("/v1/preferences", json={"theme": "dark"}, headers=me)

    wanted = NOTICES | changes[0] | changes[1] | changes[2]
    assert last.json()["notices"] == theme.json()["notices"] == wanted


@pytest.mark.parametrize(
    ("notices", "pointer"),
    [
        ({"mail": ["fax"]}, "/notices/mail/0"),
        ({"delay_minutes": 0}, "/notices/delay_minutes"),
        ({"quiet_hours": {"start": "20:00", "end": "20:00"}}, "/notices/quiet_hours"),
        ({"quiet_days": ["someday"]}, "/notices/quiet_days/0"),
        ({"show_text": "yes"}, "/notices/show_text"),
        ({"sound": True}, "/notices/sound"),
    ],
)
async def test_invalid_notices_are_refused(
    client: httpx.AsyncClient, notices: dict[str, Any], pointer: str
) -> None:
    me = await create_user_headers(client)

    refused = await client.patch("/v1/preferences", json={"notices": notices}, headers=me)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


async def test_an_api_key_has_no_preferences(client: httpx.AsyncClient) -> None:
    for path in ("/v1/preferences", "/v1/saved-views"):
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "user_needed")


async def test_view_is_created_changed_and_deleted(client: httpx.AsyncClient) -> None:
    me = await create_user_headers(client)

    made = await client.post("/v1/saved-views", json=VIEW, headers=me)
    view = made.json()
    path = f"/v1/saved-views/{view['id']}"
    renamed = await client.patch(path, json={"name": "Mine"}, headers=me)
    narrowed = await client.patch(path, json={"filter": {"overdue": True}}, headers=me)

    assert made.status_code == 201
    assert VIEW.items() <= view.items()
    assert (renamed.json()["name"], renamed.json()["filter"]) == ("Mine", VIEW["filter"])
    assert narrowed.json()["filter"] == {"overdue": True}
    assert (await client.get(path, headers=me)).json() == narrowed.json()
    assert (await client.patch(path, json={}, headers=me)).json() == narrowed.json()
    assert (await client.delete(path, headers=me)).status_code == 204
    gone = await client.delete(path, headers=me)
    assert (gone.status_code, gone.json()["code"]) == (404, "saved_view_not_found")


async def test_views_of_a_colleague_are_not_found(client: httpx.AsyncClient) -> None:
    me = await create_user_headers(client)
    colleague = await create_user_headers(client, email=OTHER_EMAIL)
    view = (await client.post("/v1/saved-views", json=VIEW, headers=me)).json()
    path = f"/v1/saved-views/{view['id']}"

    answers = [
        await client.get(path, headers=colleague),
        await client.patch(path, json={"name": "His"}, headers=colleague),
        await client.delete(path, headers=colleague),
        await client.get(f"/v1/saved-views/{UNKNOWN_ID}", headers=me),
    ]
    same = await client.post("/v1/saved-views", json=VIEW, headers=colleague)

    assert [answer.status_code for answer in answers] == [404] * 4
    assert same.status_code == 201
    assert (await client.get(path, headers=me)).json() == view


async def test_name_is_unique_for_each_list(client: httpx.AsyncClient) -> None:
    me = await create_user_headers(client)
    view = (await client.post("/v1/saved-views", json=VIEW, headers=me)).json()

    again = await client.post("/v1/saved-views", json=VIEW, headers=me)
    other = await client.post("/v1/saved-views", json={**VIEW, "list": "contacts"}, headers=me)
    late = (await client.post("/v1/saved-views", json={**VIEW, "name": "B"}, headers=me)).json()
    renamed = await client.patch(
        f"/v1/saved-views/{late['id']}", json={"name": VIEW["name"]}, headers=me
    )

    for refused in (again, renamed):
        assert (refused.status_code, refused.json()["code"]) == (409, "saved_view_exists")
        assert refused.json()["saved_view_id"] == view["id"]
    assert other.status_code == 201
    wanted: dict[str, Any] = {"list": "tasks", "limit": 1}
    first = (await client.get("/v1/saved-views", params=wanted, headers=me)).json()
    wanted["cursor"] = first["next_cursor"]
    rest = (await client.get("/v1/saved-views", params=wanted, headers=me)).json()
    assert [one["id"] for one in [*first["data"], *rest["data"]]] == [late["id"], view["id"]]


@pytest.mark.parametrize(
    "change",
    [
        {"list": "users"},
        {"name": ""},
        {"filter": None},
        {"filter": {"q": {"deep": True}}},
        {"filter": {"q": "x" * 501}},
        {"filter": {"": "x"}},
        {"filter": {"q": ["x"] * 101}},
        {"filter": {f"p{place}": "x" for place in range(31)}},
    ],
)
async def test_invalid_view_is_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    me = await create_user_headers(client)

    refused = await client.post("/v1/saved-views", json=VIEW | change, headers=me)

    assert refused.status_code == 422
    (field,) = change
    assert refused.json()["errors"][0]["pointer"].startswith(f"/{field}")
