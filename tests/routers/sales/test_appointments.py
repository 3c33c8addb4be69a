"""Tests of appointments: input, conflicts, free times, calendar files, changed contacts."""

import asyncio
import csv
import io
from datetime import timedelta
from typing import Any

import httpx
import icalendar
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.factories import make_contact, number
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

from crm_api.domain.identity.users.models import User
from crm_api.domain.kit.event_log import Event
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.properties import Property
from crm_api.domain.sales.appointments import booking
from crm_api.domain.sales.appointments.errors import AppointmentConflictError
from crm_api.domain.sales.appointments.models import Appointment
from crm_api.domain.sales.appointments.schemas import AppointmentCreate
from crm_api.domain.sales.outcomes.models import OutcomeSource
from crm_api.domain.sales.outcomes.state_outcomes import Recorder
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

RECORDER = Recorder(name="key", source=OutcomeSource.API, secret=SECRET.encode())
UNKNOWN_USER = "00000000-0000-7000-8000-000000000000"
NINE, TEN, ELEVEN = "2026-12-01T14:00:00Z", "2026-12-01T15:00:00Z", "2026-12-01T16:00:00Z"
"""Three instants on a Tuesday, at 9:00, 10:00 and 11:00 in New York."""


@pytest.fixture(name="ada")
async def _create_ada(session: AsyncSession) -> Contact:
    return await make_contact(
        session,
        phone=number(1),
        first_name="Ada",
        last_name="Lovelace",
        street="12 Main Street",
        city="Quincy",
        state="MA",
        postal_code="02169",
    )


async def post_appointment(
    client: httpx.AsyncClient, ada: Contact, **values: Any
) -> httpx.Response:
    body = {"contact_id": str(ada.id), "starts_at": NINE, "ends_at": TEN, **values}
    return await client.post("/v1/appointments", json=body)


async def create_appointment(client: httpx.AsyncClient, ada: Contact, **values: Any) -> Any:
    response = await post_appointment(client, ada, **values)
    assert response.status_code == 201, response.text
    return response.json()


async def change_appointment(client: httpx.AsyncClient, one: Any, **values: Any) -> httpx.Response:
    return await client.patch(f"/v1/appointments/{one['id']}", json=values)


async def list_starts(client: httpx.AsyncClient, **query: Any) -> list[str]:
    response = await client.get("/v1/appointments", params=query)
    assert response.status_code == 200, response.text
    return [one["starts_at"] for one in response.json()["data"]]


async def test_appointment_is_booked_read_and_listed(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    user = await create_active_user(client)

    one = await create_appointment(
        client, ada, kind="repair", assignee_id=user["id"], note="Two\nlines"
    )

    assert (one["status"], one["kind"], one["note"]) == ("booked", "repair", "Two\nlines")
    assert (one["contact_id"], one["contact_name"]) == (str(ada.id), "Ada Lovelace")
    assert (one["assignee_id"], one["assignee_name"]) == (user["id"], user["name"])
    assert one["timezone"] == "America/New_York"
    assert (one["starts_at"], one["ends_at"]) == (
        "2026-12-01T14:00:00.000Z",
        "2026-12-01T15:00:00.000Z",
    )
    answer = await client.get(f"/v1/appointments/{one['id']}")
    assert answer.json() == one
    assert answer.headers["etag"]


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("ends_at", NINE, "/ends_at"),
        ("ends_at", "2027-01-02T14:00:00Z", "/ends_at"),
        ("starts_at", "2026-12-01T09:00:00", "/starts_at"),
        ("timezone", "Mars/Olympus", "/timezone"),
        ("kind", "party", "/kind"),
        ("status", "planned", "/status"),
        ("note", "x" * 2_001, "/note"),
        ("location", "two\nlines", "/location"),
        ("assignee_id", UNKNOWN_USER, "/assignee_id"),
        ("price", 1, "/price"),
    ],
)
async def test_wrong_value_is_refused(
    client: httpx.AsyncClient, ada: Contact, field: str, value: Any, pointer: str
) -> None:
    answer = await post_appointment(client, ada, **{field: value})

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("field", "code"),
    [("contact_id", "contact_not_found"), ("property_id", "property_not_found")],
)
async def test_unknown_subject_is_not_found(
    client: httpx.AsyncClient, ada: Contact, field: str, code: str
) -> None:
    answer = await post_appointment(client, ada, **{field: UNKNOWN_USER})

    assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_error_of_an_unknown_assignee_names_the_appointment(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    made = await create_appointment(client, ada)

    refused = await post_appointment(client, ada, assignee_id=UNKNOWN_USER)
    unchanged = await change_appointment(client, made, assignee_id=UNKNOWN_USER)

    for answer in (refused, unchanged):
        assert answer.json()["code"] == "unknown_assignee"
        assert answer.json()["detail"].endswith("Null assigns the appointment to nobody.")


async def test_overlap_of_an_assignee_is_a_conflict(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    user = await create_active_user(client)
    first = await create_appointment(client, ada, assignee_id=user["id"])

    overlapping = {"starts_at": "2026-12-01T14:30:00Z", "ends_at": ELEVEN}
    answer = await post_appointment(client, ada, assignee_id=user["id"], **overlapping)

    assert (answer.status_code, answer.json()["code"]) == (409, "appointment_conflict")
    assert answer.json()["appointment_id"] == first["id"]
    await create_appointment(client, ada, **overlapping)
    await create_appointment(client, ada, assignee_id=user["id"], starts_at=TEN, ends_at=ELEVEN)
    await create_appointment(
        client, ada, assignee_id=user["id"], allow_conflict=True, **overlapping
    )


async def test_cancelled_appointment_causes_no_conflict_until_it_is_booked_again(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    user = await create_active_user(client)
    first = await create_appointment(client, ada, assignee_id=user["id"])
    assert (await change_appointment(client, first, status="cancelled")).status_code == 200
    second = await create_appointment(client, ada, assignee_id=user["id"])

    answer = await change_appointment(client, first, status="booked")

    assert (answer.status_code, answer.json()["appointment_id"]) == (409, second["id"])
    kept = await change_appointment(client, first, status="booked", allow_conflict=True)
    assert kept.json()["status"] == "booked"


async def test_result_of_an_overlapping_appointment_is_stored(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    user = await create_active_user(client)
    first = await create_appointment(client, ada, assignee_id=user["id"])
    one = await create_appointment(client, ada, assignee_id=user["id"], allow_conflict=True)
    same = {"starts_at": NINE, "ends_at": TEN, "assignee_id": user["id"]}

    held = await change_appointment(client, one, status="held", note="Done", **same)
    moved = await change_appointment(client, one, ends_at="2026-12-01T14:30:00Z")
    cancelled = await change_appointment(client, one, status="cancelled")
    booked = await change_appointment(client, one, status="booked")
    of_nobody = await change_appointment(client, one, status="booked", assignee_id=None)
    assigned = await change_appointment(client, one, assignee_id=user["id"])

    assert (held.status_code, held.json()["status"]) == (200, "held")
    assert (moved.status_code, moved.json()["appointment_id"]) == (409, first["id"])
    assert (cancelled.status_code, booked.status_code) == (200, 409)
    assert (of_nobody.status_code, assigned.status_code) == (200, 409)


async def test_move_into_another_appointment_is_a_conflict(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    user = await create_active_user(client)
    await create_appointment(client, ada, assignee_id=user["id"])
    later = await create_appointment(
        client, ada, assignee_id=user["id"], starts_at=TEN, ends_at=ELEVEN
    )

    answer = await change_appointment(client, later, starts_at="2026-12-01T14:59:00Z")

    assert answer.status_code == 409
    assert (await change_appointment(client, later, note="Ring twice")).status_code == 200
    assert (await change_appointment(client, later, ends_at=TEN)).status_code == 422


async def test_one_of_two_concurrent_bookings_is_refused(
    committed_uow: UnitOfWorkFactory,
) -> None:
    async with committed_uow() as uow:
        ada = await make_contact(uow.session, phone=number(1))
        bob = await make_contact(uow.session, phone=number(2))
        user = User(
            email="olga@granite.example.com",
            name="Olga",
            role="agent",
            status="active",
            password_hash="hash",  # noqa: S106 - of nobody
            created_at=NOW,
            updated_at=NOW,
        )
        uow.session.add(user)

    async def booking_of(contact: Contact) -> str:
        body = AppointmentCreate(
            contact_id=contact.id,
            starts_at=NOW,
            ends_at=NOW + timedelta(hours=1),
            assignee_id=user.id,
        )
        try:
            async with committed_uow() as uow:
                await booking.book_appointment(uow, body, recorder=RECORDER, now=NOW)
                await asyncio.sleep(0)
        except AppointmentConflictError:
            return "refused"
        return "booked"

    found = await asyncio.gather(*(booking_of(one) for one in (ada, bob) * 3))

    assert sorted(found) == ["booked", *["refused"] * 5]


async def test_list_filters_by_period_assignee_contact_and_status(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    user = await create_active_user(client)
    bob = await make_contact(session, phone=number(2))
    first = await create_appointment(client, ada, assignee_id=user["id"])
    second = await create_appointment(client, bob, starts_at=TEN, ends_at=ELEVEN)
    await change_appointment(client, second, status="held")
    one, two = first["starts_at"], second["starts_at"]

    assert await list_starts(client) == [one, two]
    assert await list_starts(client, **{"from": TEN}) == [two]
    assert await list_starts(client, **{"from": "2026-12-01T14:30:00Z", "to": TEN}) == [one]
    day = {"from": "2026-12-01", "to": "2026-12-02", "timezone": "America/New_York"}
    assert await list_starts(client, **day) == [one, two]
    assert await list_starts(client, assignee=user["id"]) == [one]
    assert await list_starts(client, assignee="none") == [two]
    assert await list_starts(client, contact_id=str(bob.id)) == [two]
    assert await list_starts(client, status="held") == [two]
    assert await list_starts(client, property_id=UNKNOWN_USER) == []
    assert await list_starts(client, assignee="me") == []
    client.headers.update(bearer(await sign_in(client)))
    assert await list_starts(client, assignee="me") == [one]


async def test_free_times_are_within_working_hours_and_between_appointments(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    user = await create_active_user(client)
    await create_appointment(client, ada, assignee_id=user["id"], starts_at=TEN, ends_at=ELEVEN)
    gone = await create_appointment(client, ada, starts_at=TEN, ends_at="2026-12-01T20:00:00Z")
    await change_appointment(client, gone, status="cancelled")
    period = {"from": "2026-11-29", "to": "2026-12-02", "timezone": "America/New_York"}

    answer = await client.get("/v1/appointments/free", params={**period, "assignee_id": user["id"]})

    spans = [(one["starts_at"][:16], one["ends_at"][:16]) for one in answer.json()["data"]]
    assert spans == [
        ("2026-11-30T14:00", "2026-11-30T23:00"),
        ("2026-12-01T14:00", "2026-12-01T15:00"),
        ("2026-12-01T16:00", "2026-12-01T23:00"),
    ]
    longer: dict[str, Any] = {**period, "duration_minutes": 61, "day": "tue", "day_start": "08:30"}
    answer = await client.get("/v1/appointments/free", params=longer)
    assert [one["starts_at"][:16] for one in answer.json()["data"]] == [
        "2026-12-01T13:30",
        "2026-12-01T16:00",
    ]


async def test_free_times_follow_the_office_hours_and_exclude_holidays(
    client: httpx.AsyncClient,
) -> None:
    mornings = {"start": "08:00", "end": "12:00"}
    days = {"mon": [mornings, {"start": "13:00", "end": "17:30"}], "wed": [mornings], "sat": []}
    settings = {
        "office_hours": {"timezone": "America/New_York", "days": days},
        "holidays": [{"date": "2026-12-02", "name": "Founders"}],
    }
    assert (await client.patch("/v1/settings", json=settings)).status_code == 200
    period = {"from": "2026-11-29", "to": "2026-12-10", "timezone": "America/Chicago"}

    async def spans(**more: Any) -> list[tuple[str, str]]:
        answer = await client.get("/v1/appointments/free", params={**period, **more})
        assert answer.status_code == 200, answer.text
        return [(one["starts_at"][5:16], one["ends_at"][5:16]) for one in answer.json()["data"]]

    assert await spans() == [
        ("11-30T13:00", "11-30T17:00"),
        ("11-30T18:00", "11-30T22:30"),
        ("12-07T13:00", "12-07T17:00"),
        ("12-07T18:00", "12-07T22:30"),
        ("12-09T13:00", "12-09T17:00"),
    ]
    # Working hours in the request replace the office hours. Holidays are still excluded.
    assert await spans(day="wed") == [("12-09T15:00", "12-10T00:00")]


async def test_working_hours_follow_local_time_across_a_clock_change(
    client: httpx.AsyncClient,
) -> None:
    """Prove that free times are right on a day with 23 hours.

    In New York, this day is Sunday, 14 March 2027.
    """
    period = {"from": "2027-03-13", "to": "2027-03-15", "timezone": "America/New_York"}
    days: dict[str, Any] = {"day": ["sat", "sun"], "day_start": "00:00", "day_end": "24:00"}

    answer = await client.get("/v1/appointments/free", params={**period, **days})

    assert [(one["starts_at"], one["ends_at"]) for one in answer.json()["data"]] == [
        ("2027-03-13T05:00:00.000Z", "2027-03-14T05:00:00.000Z"),
        ("2027-03-14T05:00:00.000Z", "2027-03-15T04:00:00.000Z"),
    ]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"from": TEN, "to": TEN}, "invalid_period"),
        ({"from": TEN, "to": "2027-03-01T00:00:00Z"}, "invalid_period"),
        ({"day_start": "18:00"}, "invalid_working_hours"),
        ({"day_start": "18"}, "validation_failed"),
        ({"duration_minutes": 0}, "validation_failed"),
    ],
)
async def test_wrong_period_of_free_times_is_refused(
    client: httpx.AsyncClient, params: dict[str, Any], code: str
) -> None:
    answer = await client.get("/v1/appointments/free", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_calendar_file_shows_the_appointment_in_its_time_zone(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    one = await create_appointment(client, ada, note="Gate; code 1,2\nDog")

    answer = await client.get(f"/v1/appointments/{one['id']}.ics")

    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    calendar = icalendar.Calendar.from_ical(answer.content)
    (event,) = calendar.events
    assert event["uid"] == f"{one['id']}@appointments.crm-api"
    assert event["summary"] == "Assessment: Ada Lovelace"
    assert event["location"] == "12 Main Street, Quincy, MA 02169"
    assert event["description"] == f"{number(1)}\nGate; code 1,2\nDog"
    assert event.start.isoformat() == "2026-12-01T09:00:00-05:00"
    assert [zone.tz_name for zone in calendar.timezones] == ["America/New_York"]
    assert (event["sequence"], event["status"]) == (0, "CONFIRMED")
    await change_appointment(client, one, status="cancelled")
    again = await client.get(f"/v1/appointments/{one['id']}.ics")
    (event,) = icalendar.Calendar.from_ical(again.content).events
    assert (event["sequence"], event["status"]) == (1, "CANCELLED")
    missing = await client.get(f"/v1/appointments/{UNKNOWN_USER}.ics")
    assert (missing.status_code, missing.json()["code"]) == (404, "appointment_not_found")


async def test_change_of_an_outdated_version_is_refused(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    one = await create_appointment(client, ada)
    path = f"/v1/appointments/{one['id']}"
    seen = (await client.get(path)).headers["etag"]
    await change_appointment(client, one, note="Changed")

    answer = await client.patch(path, json={"status": "held"}, headers={"If-Match": seen})

    assert answer.status_code == 412
    assert (await client.get(path)).json()["status"] == "booked"


async def test_each_change_emits_an_event(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    one = await create_appointment(client, ada)
    await change_appointment(client, one, status="held")
    await change_appointment(client, one, status="held")

    events = await session.scalars(
        select(Event).where(Event.type == "appointment.changed").order_by(Event.id)
    )

    assert [event.data["status"] for event in events] == ["booked", "held"]


async def test_merge_moves_appointments_and_its_undo_returns_them(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    duplicate = await make_contact(session, phone=number(2))
    await create_appointment(client, ada)
    theirs = await create_appointment(client, duplicate, starts_at=TEN, ends_at=ELEVEN)
    body = {"primary_id": str(ada.id), "duplicate_ids": [str(duplicate.id)]}

    merge = (await client.post("/v1/contacts/merge", json=body)).json()

    assert len(await list_starts(client, contact_id=str(ada.id))) == 2
    undone = await client.post(f"/v1/contact-merges/{merge['merge_id']}/undo")
    assert undone.status_code == 200, undone.text
    assert await list_starts(client, contact_id=str(duplicate.id)) == [theirs["starts_at"]]
    assert len(await list_starts(client, contact_id=str(ada.id))) == 1


async def test_deletion_of_the_contact_cancels_booked_appointments(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    held = await create_appointment(client, ada, status="held", note="Paid in cash")
    one = await create_appointment(client, ada, location="At the gate")

    await client.delete(f"/v1/contacts/{ada.id}")

    after = (await client.get(f"/v1/appointments/{one['id']}")).json()
    assert (after["status"], after["location"]) == ("cancelled", None)
    after = (await client.get(f"/v1/appointments/{held['id']}")).json()
    assert (after["status"], after["note"]) == ("held", None)


async def test_erasure_removes_the_person_from_appointments(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    home = Property(
        id=new_id(),
        address_key="12 main st|02169",
        street="12 Main",
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(home)
    await session.commit()
    one = await create_appointment(client, ada, property_id=str(home.id), note="Ada is deaf")

    answer = await client.post(f"/v1/contacts/{ada.id}/erase", json={"reason": "asked"})

    assert answer.status_code == 202, answer.text
    after = (await client.get(f"/v1/appointments/{one['id']}")).json()
    person = ("contact_id", "contact_name", "property_id", "location", "note")
    assert [after[name] for name in person] == [None] * 5
    assert (after["status"], after["starts_at"]) == ("cancelled", one["starts_at"])


async def test_repeated_request_with_the_same_idempotency_key_books_once(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    headers = {"Idempotency-Key": "visit-1"}
    body = {"contact_id": str(ada.id), "starts_at": NINE, "ends_at": TEN}

    first = await client.post("/v1/appointments", json=body, headers=headers)
    second = await client.post("/v1/appointments", json=body, headers=headers)

    assert first.json() == second.json()
    assert await session.scalar(select(func.count()).select_from(Appointment)) == 1


async def test_list_is_also_a_table(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    await create_appointment(client, ada, note="Two\nlines")
    await create_appointment(client, ada, starts_at=TEN, ends_at=ELEVEN)
    await session.commit()

    answer = await client.get(
        "/v1/appointments", params={"to": TEN}, headers={"Accept": "text/csv"}
    )

    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["contact_name"], row["note"]) == ("Ada Lovelace", "Two\nlines")
    assert row["starts_at"] == "2026-12-01T14:00:00.000Z"
