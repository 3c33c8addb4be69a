"""Tests of reminder rules, and of the reminders of an appointment."""

from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, make_line, number

UNKNOWN_RULE = "00000000-0000-7000-8000-000000000000"


async def rule_body(session: AsyncSession, **values: Any) -> dict[str, Any]:
    line = await make_line(session)
    await session.commit()
    body = "See you on {{ appointment.date }}"
    return {"name": "Day", "line_id": str(line.id), "body": body, "hours_before": 24, **values}


async def test_rule_is_created_changed_and_deleted(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    answer = await client.post("/v1/reminder-rules", json=await rule_body(session))
    assert answer.status_code == 201, answer.text
    rule = answer.json()
    path = f"/v1/reminder-rules/{rule['id']}"

    assert rule["kinds"] == ["assessment", "repair", "other"]
    assert (await client.get(path)).json() == rule
    changed = await client.patch(path, json={"is_active": False, "kinds": ["repair"]})
    assert (changed.json()["is_active"], changed.json()["kinds"]) == (False, ["repair"])
    assert (await client.delete(path)).status_code == 204
    assert (await client.get("/v1/reminder-rules")).json()["data"] == []
    gone = await client.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "reminder_rule_not_found")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"body": "{{ appointment.day }}"}, "invalid_reminder"),
        ({"body": "{{ first_name"}, "invalid_reminder"),
        ({"line_id": UNKNOWN_RULE}, "unknown_line"),
        ({"hours_before": 0}, "validation_failed"),
        ({"hours_before": 337}, "validation_failed"),
        ({"kinds": []}, "validation_failed"),
    ],
)
async def test_wrong_rule_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, values: dict[str, Any], code: str
) -> None:
    answer = await client.post("/v1/reminder-rules", json=await rule_body(session, **values))

    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_appointment_without_reminders_has_an_empty_list(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(session, phone=number(1))
    when = {"starts_at": "2026-12-01T14:00:00Z", "ends_at": "2026-12-01T15:00:00Z"}
    visit = await client.post("/v1/appointments", json={"contact_id": str(ada.id), **when})

    answer = await client.get(f"/v1/appointments/{visit.json()['id']}/reminders")
    missing = await client.get(f"/v1/appointments/{UNKNOWN_RULE}/reminders")

    assert answer.json() == {"data": []}
    assert (missing.status_code, missing.json()["code"]) == (404, "appointment_not_found")
