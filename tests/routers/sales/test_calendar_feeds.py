"""Tests of calendar feeds: secret addresses, content and deletion."""

from typing import Any

import httpx
import icalendar
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, number
from tests.routers.identity.test_auth import create_active_user

UNKNOWN_USER = "00000000-0000-7000-8000-000000000000"


async def create_feed(client: httpx.AsyncClient, **values: Any) -> tuple[Any, str]:
    """Create a calendar feed; return the feed and the path of its address."""
    answer = await client.post("/v1/calendar-feeds", json={"name": "Visits", **values})
    assert answer.status_code == 201, answer.text
    feed = answer.json()
    return feed, httpx.URL(feed["url"]).path


async def open_feed(client: httpx.AsyncClient, path: str, **headers: str) -> httpx.Response:
    """Request the address of a calendar feed without credentials; return the response."""
    return await client.get(path, headers={"Authorization": "", **headers})


async def book(
    client: httpx.AsyncClient, session: AsyncSession, *, hour: int, **values: Any
) -> Any:
    contact = await make_contact(
        session, phone=number(hour), first_name=f"Ada{hour}", street="12 Main Street"
    )
    now = await session.scalar(text("SELECT date_trunc('day', now()) + interval '1 day'"))
    body = {
        "contact_id": str(contact.id),
        "starts_at": now.replace(hour=hour).isoformat(),
        "ends_at": now.replace(hour=hour + 1).isoformat(),
        "note": "Beware of the dog",
        **values,
    }
    answer = await client.post("/v1/appointments", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def summaries(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [str(event["summary"]) for event in icalendar.Calendar.from_ical(answer.content).events]


async def test_address_shows_appointments_without_signing_in(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await book(client, session, hour=10)
    await book(client, session, hour=9)
    _, path = await create_feed(client)

    answer = await open_feed(client, path)

    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert summaries(answer) == ["Assessment: Ada9", "Assessment: Ada10"]
    calendar = icalendar.Calendar.from_ical(answer.content)
    assert (calendar["version"], calendar["x-wr-calname"]) == ("2.0", "Visits")
    assert b"\r\n" in answer.content
    assert max(len(line) for line in answer.content.split(b"\r\n")) <= 75


async def test_feed_of_a_user_shows_only_appointments_of_the_user(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    user = await create_active_user(client)
    await book(client, session, hour=9, assignee_id=user["id"])
    await book(client, session, hour=10)
    _, path = await create_feed(client, assignee_id=user["id"])

    assert summaries(await open_feed(client, path)) == ["Assessment: Ada9"]
    await session.execute(text("UPDATE app_user SET status = 'disabled'"))
    await session.commit()
    assert (await open_feed(client, path)).status_code == 410


async def test_busy_feed_contains_no_person_and_no_address(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await book(client, session, hour=9)
    _, path = await create_feed(client, busy_only=True)

    answer = await open_feed(client, path)

    assert summaries(answer) == ["Busy"]
    assert not any(word in answer.text for word in ("Ada", "Main", "dog", number(9)))


async def test_unchanged_calendar_is_not_sent_again(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    one = await book(client, session, hour=9)
    _, path = await create_feed(client)
    first = await open_feed(client, path)

    again = await open_feed(client, path, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await client.patch(f"/v1/appointments/{one['id']}", json={"status": "cancelled"})
    changed = await open_feed(client, path, **{"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert b"STATUS:CANCELLED" in changed.content


async def test_deleted_feed_is_gone(client: httpx.AsyncClient) -> None:
    feed, path = await create_feed(client)
    assert (await client.get(f"/v1/calendar-feeds/{feed['id']}")).json()["name"] == "Visits"

    assert (await client.delete(f"/v1/calendar-feeds/{feed['id']}")).status_code == 204

    answer = await open_feed(client, path)
    assert (answer.status_code, answer.json()["code"]) == (410, "calendar_gone")
    assert (await client.get("/v1/calendar-feeds")).json()["data"] == []
    again = await client.delete(f"/v1/calendar-feeds/{feed['id']}")
    assert (again.status_code, again.json()["code"]) == (404, "calendar_feed_not_found")


async def test_address_is_shown_once_and_stored_as_a_hash(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    feed, path = await create_feed(client)
    token = path.removeprefix("/calendar/").removesuffix(".ics")

    listed = (await client.get("/v1/calendar-feeds")).json()["data"]

    assert listed == [{key: value for key, value in feed.items() if key != "url"}]
    rows = await session.execute(text("SELECT * FROM calendar_feed"))
    assert token not in str(rows.all())
    assert len(token) >= 43


@pytest.mark.parametrize("path", ["/calendar/x.ics", f"/calendar/{'y' * 43}.ics"])
async def test_wrong_address_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await open_feed(client, path)

    assert (answer.status_code, answer.json()["code"]) == (404, "calendar_not_found")


async def test_feed_of_an_unknown_user_is_refused(client: httpx.AsyncClient) -> None:
    body = {"name": "Visits", "assignee_id": UNKNOWN_USER}

    answer = await client.post("/v1/calendar-feeds", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_assignee")
    assert answer.json()["detail"].endswith(
        "With null, the feed shows the appointments of all users."
    )
