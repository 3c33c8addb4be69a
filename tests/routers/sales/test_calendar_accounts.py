"""Tests of calendar accounts: input, password and deletion."""

from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import SECRET
from tests.factories import make_contact, number
from tests.fakes import RecordingQueue

from crm_api.domain.sales.calendar_accounts import service
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

PASSWORD = "abcd-efgh-ijkl"  # noqa: S105 - of nobody
BODY = {
    "name": "Phone of Olga",
    "url": "https://dav.example.com/olga/visits",
    "username": "olga",
    "password": PASSWORD,
}


async def test_account_is_created_read_and_deleted(
    client: httpx.AsyncClient, queue: RecordingQueue
) -> None:
    answer = await client.post("/v1/calendar-accounts", json=BODY)
    assert answer.status_code == 201, answer.text
    account = answer.json()
    path = f"/v1/calendar-accounts/{account['id']}"

    assert account["url"] == "https://dav.example.com/olga/visits/"
    assert (account["status"], account["error"], account["last_synced_at"]) == (
        "pending",
        None,
        None,
    )
    assert JobName.SYNC_CALENDARS in [job.name for job in queue.jobs]
    assert (await client.get(path)).json() == account
    assert (await client.get("/v1/calendar-accounts")).json()["data"] == [account]
    assert (await client.delete(path)).status_code == 204
    gone = await client.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "calendar_account_not_found")


async def test_password_is_stored_encrypted_and_never_shown(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    answer = await client.post("/v1/calendar-accounts", json=BODY)

    assert "password" not in answer.text
    assert PASSWORD not in answer.text
    rows = (await session.execute(text("SELECT * FROM calendar_account"))).all()
    assert PASSWORD not in str(rows)
    async with new_uow() as uow:
        account = await service.read_account(uow, account_id=answer.json()["id"])
        assert service.open_password(account, key=SECRET.encode()) == PASSWORD


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"url": "http://dav.example.com/x/"}, "invalid_calendar_url"),
        ({"url": "https://10.0.0.7/x/"}, "invalid_calendar_url"),
        ({"url": "https://[::ffff:169.254.169.254]/"}, "invalid_calendar_url"),
        ({"url": "https://olga:secret@dav.example.com/"}, "invalid_calendar_url"),
        ({"url": "ftp://dav.example.com/"}, "invalid_calendar_url"),
        ({"url": "https://dav.example.com/x?y=1"}, "invalid_calendar_url"),
        ({"password": ""}, "validation_failed"),
        ({"timezone": "Mars/Olympus"}, "validation_failed"),
        ({"assignee_id": "00000000-0000-7000-8000-000000000000"}, "unknown_assignee"),
    ],
)
async def test_wrong_account_is_refused(
    client: httpx.AsyncClient, values: dict[str, Any], code: str
) -> None:
    answer = await client.post("/v1/calendar-accounts", json={**BODY, **values})

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert PASSWORD not in answer.text


async def test_changed_appointment_requests_a_calendar_sync(
    client: httpx.AsyncClient, session: AsyncSession, queue: RecordingQueue
) -> None:
    await client.post("/v1/calendar-accounts", json=BODY)
    due = text("UPDATE calendar_account SET next_sync_at = next_sync_at + interval '1 hour'")
    await session.execute(due)
    await session.commit()
    queue.jobs.clear()
    ada = await make_contact(session, phone=number(1))
    when = {"starts_at": "2026-12-01T14:00:00Z", "ends_at": "2026-12-01T15:00:00Z"}

    await client.post("/v1/appointments", json={"contact_id": str(ada.id), **when})

    assert JobName.SYNC_CALENDARS in [job.name for job in queue.jobs]


async def test_busy_times_of_a_calendar_are_not_free(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    account = (await client.post("/v1/calendar-accounts", json=BODY)).json()
    busy = text("""
        WITH known AS (
            INSERT INTO calendar_event (id, account_id, href, uid)
            VALUES (gen_random_uuid(), :account_id, '/a.ics', 'a') RETURNING id)
        INSERT INTO calendar_busy_time (id, event_id, starts_at, ends_at)
        SELECT gen_random_uuid(), known.id, CAST(:start AS timestamptz),
            CAST(:start AS timestamptz) + interval '2 hours' FROM known""")
    await session.execute(
        busy,
        {"account_id": account["id"], "start": datetime.fromisoformat("2026-12-01T14:00Z")},
    )
    await session.commit()
    period = {"from": "2026-12-01", "to": "2026-12-02", "timezone": "America/New_York"}

    answer = await client.get("/v1/appointments/free", params=period)

    spans = [(one["starts_at"][:16], one["ends_at"][:16]) for one in answer.json()["data"]]
    assert spans == [("2026-12-01T16:00", "2026-12-01T23:00")]


async def test_second_account_for_a_calendar_is_refused(client: httpx.AsyncClient) -> None:
    first = (await client.post("/v1/calendar-accounts", json=BODY)).json()

    answer = await client.post("/v1/calendar-accounts", json={**BODY, "url": first["url"]})

    assert (answer.status_code, answer.json()["code"]) == (409, "calendar_account_exists")
    assert answer.json()["account_id"] == first["id"]
