"""Appointments are synchronised with the events of a real CalDAV server (a Radicale process)."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import icalendar
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update
from tests.conftest import NOW, SECRET
from tests.domain.monitoring.watchdog.support import open_alerts
from tests.factories import make_contact, number
from tests.free_ports import free_port

from crm_api.domain.identity.users.models import User
from crm_api.domain.kit.addresses import ANY_PORT, AddressPolicy
from crm_api.domain.monitoring.watchdog import sales
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.sales.appointments import booking
from crm_api.domain.sales.appointments.models import Appointment
from crm_api.domain.sales.calendar_accounts import push, service
from crm_api.domain.sales.calendar_accounts.dav_client import DavClient, Login
from crm_api.domain.sales.calendar_accounts.errors import CalendarServerError
from crm_api.domain.sales.calendar_accounts.models import CalendarAccount, CalendarEvent
from crm_api.domain.sales.calendar_accounts.schemas import CalendarAccountCreate
from crm_api.domain.sales.calendar_accounts.sync import SyncFigures, synchronise
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

LOOPBACK = AddressPolicy(ports=ANY_PORT, loopback_ports=ANY_PORT, needs_tls=True)
LOGIN = Login(username="olga", password="abcd-efgh")  # noqa: S106 - of a server in the tests
START = NOW + timedelta(days=2)
HOUR = timedelta(hours=1)
COLLECTION = """<?xml version="1.0" encoding="utf-8"?>
<c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set><d:prop>
<d:displayname>Visits</d:displayname></d:prop></d:set></c:mkcalendar>"""


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Radicale on a free port of this machine; yield its address."""
    folder = tmp_path_factory.mktemp("radicale")
    port = free_port()
    (folder / "users").write_text(f"{LOGIN.username}:{LOGIN.password}\n")
    config = folder / "config"
    config.write_text(
        f"[server]\nhosts = 127.0.0.1:{port}\n"
        f"[auth]\ntype = htpasswd\nhtpasswd_filename = {folder / 'users'}\n"
        "htpasswd_encryption = plain\ndelay = 0\n"
        f"[storage]\nfilesystem_folder = {folder / 'data'}\n"
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen(  # noqa: S603 - a program of the test environment
        [sys.executable, "-m", "radicale", "--config", str(config)], stdout=log, stderr=log
    )
    try:
        _wait(port, process, folder)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _wait(port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            probe.settimeout(0.1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError((folder / "log").read_text())


class Calendar:
    """A user's calendar on the test server. Its methods change it like another calendar program."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url

    async def events(self) -> dict[str, icalendar.Event]:
        """Return all events by their paths on the server."""
        found = await self.http.request("PROPFIND", self.url, headers={"Depth": "1"})
        hrefs = [
            part.split("</href>")[0]
            for part in found.text.split("<href>")[1:]
            if part.split("</href>")[0].endswith(".ics")
        ]
        bodies = [(href, (await self.http.get(href)).content) for href in hrefs]
        return {href: icalendar.Calendar.from_ical(body).events[0] for href, body in sorted(bodies)}

    async def starts(self) -> list[datetime]:
        """Return the starts of all events, the earliest first."""
        found = [event.start for event in (await self.events()).values()]
        return sorted(one for one in found if isinstance(one, datetime))

    async def put(self, name: str, body: str, **headers: str) -> httpx.Response:
        answer = await self.http.put(
            f"{self.url}{name}", content=body, headers={"Content-Type": "text/calendar", **headers}
        )
        assert answer.status_code in {201, 204, 412}, answer.text
        return answer

    async def move(self, href: str, by: timedelta) -> None:
        """Move an event by a duration, as another program would do."""
        calendar = icalendar.Calendar.from_ical((await self.http.get(href)).content)
        (event,) = calendar.events
        for key in ("DTSTART", "DTEND"):
            value = event.decoded(key) + by
            del event[key]
            event.add(key, value)
        answer = await self.http.put(
            href, content=calendar.to_ical(), headers={"Content-Type": "text/calendar"}
        )
        assert answer.status_code in {201, 204}, answer.text

    async def replace_text(self, href: str, old: str, new: str) -> None:
        """Replace a part of the iCalendar text of an event, as another program would do."""
        body = (await self.http.get(href)).text
        assert old in body
        answer = await self.http.put(
            href, content=body.replace(old, new), headers={"Content-Type": "text/calendar"}
        )
        assert answer.status_code in {201, 204}, answer.text

    async def delete(self, href: str) -> None:
        assert (await self.http.delete(href)).status_code in {200, 204}


def event_text(uid: str, *lines: str) -> str:
    return "\r\n".join(
        ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//phone//EN", "BEGIN:VEVENT", f"UID:{uid}",
         "DTSTAMP:20261125T120000Z", *lines, "END:VEVENT", "END:VCALENDAR", "")
    )  # fmt: skip


@pytest.fixture(name="calendar")
async def _calendar(server: str) -> AsyncIterator[Calendar]:
    async with httpx.AsyncClient(
        base_url=server, auth=(LOGIN.username, LOGIN.password), trust_env=False, timeout=60
    ) as http:
        url = f"{server}/{LOGIN.username}/{new_id()}/"
        made = await http.request("MKCALENDAR", url, content=COLLECTION)
        assert made.status_code == 201, made.text
        yield Calendar(http, url)


class Office:
    """The service with one calendar account and one contact (Ada)."""

    def __init__(self, new_uow: UnitOfWorkFactory, account_id: UUID, ada: Contact) -> None:
        self.new_uow = new_uow
        self.account_id = account_id
        self.ada = ada
        self.now = NOW

    async def book(self, starts_at: datetime = START, **values: Any) -> UUID:
        """Store an appointment with Ada."""
        async with self.new_uow() as uow:
            made = await booking.insert_appointment(
                uow,
                {
                    "id": new_id(),
                    "contact_id": self.ada.id,
                    "property_id": None,
                    "kind": "repair",
                    "starts_at": starts_at,
                    "ends_at": starts_at + HOUR,
                    "timezone": "America/New_York",
                    "assignee_id": None,
                    "location": None,
                    "note": None,
                    "status": "booked",
                    "author": "key",
                    "created_at": NOW,
                    "updated_at": NOW,
                    **values,
                },
                allow_conflict=True,
            )
            return made.id

    async def change(self, appointment_id: UUID, **values: Any) -> None:
        async with self.new_uow() as uow:
            await booking.write_changes(
                uow, values, appointment_id=appointment_id, allow_conflict=True, now=self.now
            )

    async def appointments(self) -> list[Appointment]:
        async with self.new_uow() as uow:
            found = await uow.session.scalars(
                select(Appointment).order_by(Appointment.starts_at, Appointment.id)
            )
            return list(found)

    async def single_appointment(self) -> Appointment:
        (found,) = await self.appointments()
        return found

    async def account(self) -> CalendarAccount:
        async with self.new_uow() as uow:
            return await service.read_account(uow, account_id=self.account_id)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[DavClient]:
        account = await self.account()
        async with DavClient(account.url, LOGIN, policy=LOOPBACK) as client:
            yield client

    async def sync(self) -> SyncFigures:
        """Synchronise once, as the job does; fail if the account then has an error."""
        figures = await self.try_sync()
        account = await self.account()
        assert account.error is None, account.error
        return figures

    async def try_sync(self) -> SyncFigures:
        self.now += timedelta(minutes=2)
        async with self.new_uow() as uow:
            account = await service.claim_account(uow, now=self.now)
        assert account is not None
        async with self.client() as client:
            return await synchronise(self.new_uow, account, client, now=lambda: self.now)


@pytest.fixture(name="office")
async def _office(committed_uow: UnitOfWorkFactory, calendar: Calendar) -> Office:
    body = CalendarAccountCreate(
        name="Phone of Olga",
        url=calendar.url,
        username=LOGIN.username,
        password=SecretStr(LOGIN.password),
    )
    async with committed_uow() as uow:
        ada = await make_contact(
            uow.session, phone=number(1), first_name="Ada", street="12 Main Street"
        )
        account = await service.create_account(
            uow, body, author="key", policy=LOOPBACK, key=SECRET.encode(), now=NOW
        )
        account_id = account.id
    return Office(committed_uow, account_id, ada)


async def test_calendar_follows_an_appointment_that_is_created_moved_and_cancelled(
    office: Office, calendar: Calendar
) -> None:
    visit = await office.book()

    assert await office.sync() == SyncFigures(pushed=1)
    (event,) = (await calendar.events()).values()
    assert (event["uid"], event["summary"]) == (f"{visit}@appointments.crm-api", "Repair: Ada")
    assert (event.start, event["location"]) == (START, "12 Main Street")
    await office.change(visit, starts_at=START + HOUR, ends_at=START + 2 * HOUR)
    assert (await office.sync()).pushed == 1
    assert await calendar.starts() == [START + HOUR]
    await office.change(visit, status="cancelled")
    assert (await office.sync()).pushed == 1
    assert await calendar.events() == {}
    assert await office.sync() == SyncFigures()
    await office.change(visit, status="booked")
    await office.sync()
    assert await calendar.starts() == [START + HOUR]


async def test_appointments_follow_an_event_that_is_created_moved_and_deleted(
    office: Office, calendar: Calendar
) -> None:
    body = event_text(
        "lunch-1", "DTSTART:20261127T150000Z", "DTEND:20261127T160000Z", "SUMMARY:Call Bob"
    )
    await calendar.put("lunch.ics", body)

    assert (await office.sync()).pulled == 1
    one = await office.single_appointment()
    assert (one.starts_at, one.note, one.author) == (START, "Call Bob", "Phone of Olga")
    assert (one.status, one.contact_id) == ("booked", None)
    (href,) = await calendar.events()
    await calendar.move(href, HOUR)
    await office.sync()
    assert (await office.single_appointment()).starts_at == START + HOUR
    await calendar.delete(href)
    await office.sync()
    assert (await office.single_appointment()).status == "cancelled"
    assert await office.sync() == SyncFigures()


async def test_appointment_follows_its_own_event_that_is_moved_and_deleted(
    office: Office, calendar: Calendar
) -> None:
    await office.book()
    await office.sync()
    (href,) = await calendar.events()

    await calendar.move(href, 2 * HOUR)
    assert (await office.sync()).pulled == 1
    one = await office.single_appointment()
    assert (one.starts_at, one.ends_at) == (START + 2 * HOUR, START + 3 * HOUR)
    assert await office.sync() == SyncFigures()
    await calendar.delete(href)
    await office.sync()
    assert (await office.single_appointment()).status == "cancelled"
    assert await calendar.events() == {}


async def test_event_of_a_person_keeps_its_text_when_its_appointment_is_moved(
    office: Office, calendar: Calendar
) -> None:
    body = event_text(
        "x1", "DTSTART:20261127T150000Z", "DTEND:20261127T160000Z", "SUMMARY:Call Bob", "URL:a:b"
    )
    await calendar.put("x1.ics", body)
    await office.sync()

    visit = (await office.single_appointment()).id
    await office.change(visit, starts_at=START + HOUR, ends_at=START + 2 * HOUR)
    await office.sync()

    (event,) = (await calendar.events()).values()
    assert (event["uid"], event["summary"], event["url"]) == ("x1", "Call Bob", "a:b")
    assert event.start == START + HOUR
    assert await office.sync() == SyncFigures()


async def test_event_of_a_whole_day_keeps_its_dates_when_only_a_note_changes(
    office: Office, calendar: Calendar
) -> None:
    body = event_text("x1", "DTSTART;VALUE=DATE:20261127", "SUMMARY:Inspection")
    await calendar.put("x1.ics", body)
    await office.sync()

    await office.change((await office.single_appointment()).id, status="held", note="Done")
    await office.sync()

    (event,) = (await calendar.events()).values()
    assert event.start == date(2026, 11, 27)
    assert await office.sync() == SyncFigures()


async def test_calendar_wins_if_both_sides_move_an_appointment(
    office: Office, calendar: Calendar
) -> None:
    visit = await office.book()
    await office.sync()
    (href,) = await calendar.events()
    await calendar.move(href, 5 * HOUR)
    await office.change(visit, starts_at=START + HOUR, ends_at=START + 2 * HOUR)

    await office.sync()

    assert (await office.single_appointment()).starts_at == START + 5 * HOUR
    assert await calendar.starts() == [START + 5 * HOUR]
    assert await office.sync() == SyncFigures()


@pytest.mark.parametrize("unknown", [{}, {"location_digest": None}])
async def test_new_location_is_kept_if_the_unchanged_event_is_read_before_the_write(
    office: Office, calendar: Calendar, unknown: dict[str, None]
) -> None:
    """Test a server that reports no version after a write, so that the event is read again.

    The second case is an event whose location is not stored, because an earlier release wrote it.
    """
    visit = await office.book(location="1 Oak Street")
    await office.sync()
    async with office.new_uow() as uow:
        await uow.session.execute(update(CalendarEvent).values(etag=None, **unknown))
    await office.change(visit, location="2 Elm Street")

    await office.sync()

    assert (await office.single_appointment()).location == "2 Elm Street"
    (event,) = (await calendar.events()).values()
    assert event["location"] == "2 Elm Street"
    assert await office.sync() == SyncFigures()


async def test_new_location_is_written_to_an_event_that_was_moved_in_the_calendar(
    office: Office, calendar: Calendar
) -> None:
    visit = await office.book(location="1 Oak Street")
    await office.sync()
    (href,) = await calendar.events()
    await calendar.move(href, HOUR)
    await office.change(visit, location="2 Elm Street")

    await office.sync()

    one = await office.single_appointment()
    assert (one.location, one.starts_at) == ("2 Elm Street", START + HOUR)
    (event,) = (await calendar.events()).values()
    assert (event["location"], event.start) == ("2 Elm Street", START + HOUR)
    assert await office.sync() == SyncFigures()


async def test_new_location_is_kept_if_the_event_changes_before_the_write(
    office: Office, calendar: Calendar
) -> None:
    """Test an event that another program changes just before the server refuses the write."""
    visit = await office.book(location="1 Oak Street")
    await office.sync()
    (href,) = await calendar.events()
    await office.change(visit, location="2 Elm Street")
    async with office.client() as client:
        async with office.new_uow() as uow:
            (planned,) = await push.plan_writes(uow, await office.account(), client, now=NOW)
        await calendar.replace_text(href, "SUMMARY:", "SUMMARY:At ten: ")

        assert await push.write_one(office.new_uow, client, planned) is False

    await office.sync()
    assert (await office.single_appointment()).location == "2 Elm Street"
    (event,) = (await calendar.events()).values()
    assert event["location"] == "2 Elm Street"


async def test_new_location_is_kept_if_an_event_of_the_calendar_gets_another_title(
    office: Office, calendar: Calendar
) -> None:
    lines = ("DTSTART:20261127T150000Z", "DURATION:PT1H", "SUMMARY:Call", "LOCATION:1 Oak Street")
    await calendar.put("x1.ics", event_text("x1", *lines))
    await office.sync()
    await office.change((await office.single_appointment()).id, location="2 Elm Street")
    await office.sync()
    (href,) = await calendar.events()

    await calendar.replace_text(href, "SUMMARY:Call", "SUMMARY:Visit")
    await office.sync()

    assert (await office.single_appointment()).location == "2 Elm Street"
    assert await office.sync() == SyncFigures()


@pytest.mark.parametrize("changes", [{}, {"note": "Dog"}, {"location": "2 Elm Street"}])
async def test_calendar_wins_if_both_sides_change_a_location(
    office: Office, calendar: Calendar, changes: dict[str, str]
) -> None:
    visit = await office.book(location="1 Oak Street")
    await office.sync()
    (href,) = await calendar.events()
    await calendar.replace_text(href, "LOCATION:1 Oak", "LOCATION:3 Ash")
    await office.change(visit, **changes)

    await office.sync()

    one = await office.single_appointment()
    assert (one.location, one.note) == ("3 Ash Street", changes.get("note"))
    (event,) = (await calendar.events()).values()
    assert event["location"] == "3 Ash Street"
    assert await office.sync() == SyncFigures()


async def test_event_that_changes_between_read_and_write_is_not_overwritten(
    office: Office, calendar: Calendar
) -> None:
    """Test an event that another program moves before the service writes its own change.

    The service knows only the old version of the event, so the server refuses the write with 412.
    """
    visit = await office.book()
    await office.sync()
    (href,) = await calendar.events()
    await office.change(visit, starts_at=START + HOUR, ends_at=START + 2 * HOUR)
    async with office.client() as client:
        async with office.new_uow() as uow:
            (planned,) = await push.plan_writes(uow, await office.account(), client, now=NOW)
        await calendar.move(href, 5 * HOUR)

        assert await push.write_one(office.new_uow, client, planned) is False

    await office.sync()
    assert (await office.single_appointment()).starts_at == START + 5 * HOUR
    assert await calendar.starts() == [START + 5 * HOUR]


class LostResponseClient(DavClient):
    """A client that executes each request on the server, but then loses the response."""

    async def write_event(self, href: str, body: bytes, *, etag: str | None) -> None:
        await super().write_event(href, body, etag=etag)
        raise CalendarServerError("The response was lost.")


async def test_lost_response_causes_no_second_event_and_loses_no_later_change(
    office: Office, calendar: Calendar
) -> None:
    visit = await office.book()
    async with office.new_uow() as uow:
        account = await service.claim_account(uow, now=office.now)
    assert account is not None
    async with LostResponseClient(account.url, LOGIN, policy=LOOPBACK) as client:
        await synchronise(office.new_uow, account, client, now=lambda: office.now)
    assert (await office.account()).status == "failing"
    assert len(await calendar.events()) == 1
    await office.change(visit, starts_at=START + HOUR, ends_at=START + 2 * HOUR)

    await office.sync()

    assert await calendar.starts() == [START + HOUR]
    assert (await office.single_appointment()).starts_at == START + HOUR
    assert await office.sync() == SyncFigures()


async def test_restart_during_a_sync_creates_no_event_twice(
    office: Office, calendar: Calendar
) -> None:
    for hour in range(5):
        await office.book(START + hour * HOUR)
    writes = 0

    def is_over() -> bool:
        nonlocal writes
        writes += 1
        if writes == 4:
            raise asyncio.CancelledError
        return False

    async with office.new_uow() as uow:
        account = await service.claim_account(uow, now=office.now)
    assert account is not None
    async with office.client() as client:
        with pytest.raises(asyncio.CancelledError):
            await synchronise(
                office.new_uow, account, client, now=lambda: office.now, is_over=is_over
            )
    assert len(await calendar.events()) == 3
    async with office.new_uow() as uow:
        # The claim of the killed worker has not expired yet, so no other worker can claim the
        # account. The claim expires after some time.
        assert await service.claim_account(uow, now=office.now + timedelta(minutes=1)) is None

    await office.sync()

    assert await calendar.starts() == [START + hour * HOUR for hour in range(5)]
    assert len(await office.appointments()) == 5
    assert await office.sync() == SyncFigures()


async def test_restored_event_restores_its_appointment(office: Office, calendar: Calendar) -> None:
    visit = await office.book()
    await office.sync()
    (href,) = await calendar.events()
    body = (await calendar.http.get(href)).text
    await calendar.delete(href)
    await office.sync()
    assert (await office.single_appointment()).status == "cancelled"

    await calendar.put("restored.ics", body)
    await office.sync()

    one = await office.single_appointment()
    assert (one.id, one.status) == (visit, "booked")
    assert await calendar.starts() == [START]


async def test_invalid_sync_token_causes_a_complete_read_without_extra_changes(
    office: Office, calendar: Calendar
) -> None:
    await office.book()
    await calendar.put("a.ics", event_text("a", "DTSTART:20261127T150000Z", "DURATION:PT1H"))
    await office.sync()
    (gone,) = [href for href in await calendar.events() if href.endswith("/a.ics")]
    async with office.new_uow() as uow:
        bad = update(CalendarAccount).values(sync_token="http://radicale.org/ns/sync/" + "0" * 64)
        await uow.session.execute(bad)
    await calendar.delete(gone)

    assert (await office.sync()).pulled == 1

    assert [one.status for one in await office.appointments()] == ["booked", "cancelled"] or [
        one.status for one in await office.appointments()
    ] == ["cancelled", "booked"]
    assert await office.sync() == SyncFigures()


@pytest.mark.parametrize(
    ("lines", "start", "length"),
    [
        # A time without a time zone is in the time zone of the account, New York.
        (("DTSTART:20261127T090000", "DTEND:20261127T100000"), "2026-11-27T14:00Z", HOUR),
        (("DTSTART;VALUE=DATE:20261127",), "2026-11-27T05:00Z", 24 * HOUR),
        (("DTSTART:20261127T150000Z",), "2026-11-27T15:00Z", HOUR / 2),
    ],
)
async def test_event_without_zone_or_end_gets_the_account_zone_or_a_default_length(
    office: Office, calendar: Calendar, lines: tuple[str, ...], start: str, length: timedelta
) -> None:
    await calendar.put("a.ics", event_text("a", *lines))

    await office.sync()

    one = await office.single_appointment()
    assert one.starts_at == datetime.fromisoformat(start)
    assert one.ends_at - one.starts_at == length


async def test_event_that_recurs_for_ever_makes_a_limited_period_busy(
    office: Office, calendar: Calendar
) -> None:
    lines = ("DTSTART:20200101T120000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY")
    await calendar.put("daily.ics", event_text("daily", *lines))
    often = ("DTSTART:20200101T120000Z", "DURATION:PT1H", "RRULE:FREQ=SECONDLY")
    await calendar.put("often.ics", event_text("often", *often))

    await office.sync()

    assert await office.appointments() == []
    async with office.new_uow() as uow:
        rows = (
            await uow.session.execute(
                text("SELECT count(*) AS n, min(starts_at) AS first FROM calendar_busy_time")
            )
        ).one()
    assert 170 <= rows.n <= 190
    assert rows.first >= NOW - timedelta(days=2)
    assert await office.sync() == SyncFigures()


SINGLE = ("DTSTART:20261127T150000Z", "DURATION:PT1H", "SUMMARY:Call Bob")
WEEKLY = (*SINGLE, "RRULE:FREQ=WEEKLY")


async def count_busy_times(office: Office) -> int:
    async with office.new_uow() as uow:
        return await uow.session.scalar(text("SELECT count(*) FROM calendar_busy_time")) or 0


async def test_appointment_of_an_event_that_becomes_recurring_is_cancelled(
    office: Office, calendar: Calendar
) -> None:
    await calendar.put("x1.ics", event_text("x1", *SINGLE))
    await office.sync()

    await calendar.put("x1.ics", event_text("x1", *WEEKLY))

    assert await office.sync() == SyncFigures(pulled=1)
    visit = await office.single_appointment()
    assert visit.status == "cancelled"
    assert await count_busy_times(office) == 26
    (event,) = (await calendar.events()).values()
    assert (event.start, "RRULE" in event) == (START, True)
    async with office.new_uow() as uow:
        detail = text("SELECT detail ->> 'status' FROM audit_log WHERE subject = :subject")
        assert await uow.session.scalar(detail, {"subject": str(visit.id)}) == "cancelled"
    await office.change(visit.id, status="booked")
    assert await office.sync() == SyncFigures()
    assert (await office.single_appointment()).status == "booked"


async def test_event_that_no_longer_recurs_becomes_a_new_appointment(
    office: Office, calendar: Calendar
) -> None:
    for lines in (SINGLE, WEEKLY, SINGLE):
        await calendar.put("x1.ics", event_text("x1", *lines))
        await office.sync()

    assert sorted(one.status for one in await office.appointments()) == ["booked", "cancelled"]
    assert await count_busy_times(office) == 0
    assert await office.sync() == SyncFigures()


async def test_visit_of_an_event_that_becomes_recurring_gets_its_own_event(
    office: Office, calendar: Calendar
) -> None:
    """Test an appointment that was created from an event, and then got a contact from a user."""
    await calendar.put("x1.ics", event_text("x1", *SINGLE))
    await office.sync()
    visit = await office.single_appointment()
    await office.change(visit.id, contact_id=office.ada.id)
    await office.sync()

    await calendar.put("x1.ics", event_text("x1", *WEEKLY))

    assert await office.sync() == SyncFigures(pushed=1)
    assert (await office.single_appointment()).status == "booked"
    uids = sorted(str(event["uid"]) for event in (await calendar.events()).values())
    assert uids == sorted(["x1", f"{visit.id}@appointments.crm-api"])
    assert await office.sync() == SyncFigures()


async def test_visit_stays_booked_if_its_own_event_becomes_recurring(
    office: Office, calendar: Calendar
) -> None:
    await office.book()
    await office.sync()
    (href,) = await calendar.events()

    await calendar.replace_text(href, "SUMMARY:", "RRULE:FREQ=WEEKLY\r\nSUMMARY:")

    assert await office.sync() == SyncFigures()
    assert (await office.single_appointment()).status == "booked"
    assert await count_busy_times(office) == 26


async def test_calendar_of_more_than_ten_megabytes_is_refused(
    office: Office, calendar: Calendar
) -> None:
    for name in range(11):
        lines = ("DTSTART:20261127T150000Z", "DURATION:PT1H", f"X-NOTE:{'x' * 950_000}")
        await calendar.put(f"{name}.ics", event_text(f"u{name}", *lines))

    await office.try_sync()

    account = await office.account()
    assert account.status == "failing"
    assert "more than 10 MB" in (account.error or "")
    assert account.next_sync_at > office.now


async def test_event_of_more_than_a_year_creates_no_appointment_and_is_kept(
    office: Office, calendar: Calendar
) -> None:
    lines = ("DTSTART:20261127T150000Z", "DTEND:20280101T150000Z")
    await calendar.put("long.ics", event_text("long", *lines))

    await office.sync()

    assert await office.appointments() == []
    assert len(await calendar.events()) == 1


async def test_erased_person_is_removed_from_the_calendar(
    office: Office, calendar: Calendar
) -> None:
    await office.book()
    await office.sync()
    assert len(await calendar.events()) == 1
    async with office.new_uow() as uow:
        await uow.session.execute(update(Appointment).values(contact_id=None, note=None))

    await office.sync()

    assert await calendar.events() == {}


async def test_wrong_password_gives_an_error_with_its_remedy(office: Office) -> None:
    async with office.new_uow() as uow:
        account = await service.claim_account(uow, now=office.now)
    assert account is not None
    wrong = Login(username=LOGIN.username, password="wrong")  # noqa: S106 - of a test
    async with DavClient(account.url, wrong, policy=LOOPBACK) as client:
        await synchronise(office.new_uow, account, client, now=lambda: office.now)

    found = await office.account()
    assert found.status == "failing"
    assert "Check the user name and the password" in (found.error or "")
    assert "wrong" not in (found.error or "")


async def test_private_address_is_refused(office: Office) -> None:
    async with office.new_uow() as uow:
        account = await service.claim_account(uow, now=office.now)
    assert account is not None
    public = AddressPolicy(ports=ANY_PORT, needs_tls=False)
    async with DavClient(account.url, LOGIN, policy=public) as client:
        await synchronise(office.new_uow, account, client, now=lambda: office.now)

    assert "private, local or reserved" in ((await office.account()).error or "")


async def test_busy_times_of_a_recurring_event_are_extended_after_a_month(
    office: Office, calendar: Calendar
) -> None:
    lines = ("DTSTART:20200101T120000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY")
    await calendar.put("daily.ics", event_text("daily", *lines))
    await office.sync()
    office.now += timedelta(days=40)

    await office.sync()

    latest = text("SELECT max(starts_at) FROM calendar_busy_time")
    async with office.new_uow() as uow:
        assert await uow.session.scalar(latest) > office.now + timedelta(days=178)


async def test_past_event_creates_no_appointment(office: Office, calendar: Calendar) -> None:
    lines = ("DTSTART:20261101T120000Z", "DTEND:20261101T130000Z")
    await calendar.put("old.ics", event_text("old", *lines))

    await office.sync()
    assert await office.appointments() == []
    (href,) = await calendar.events()
    await calendar.move(href, timedelta(days=28))
    await office.sync()

    assert (await office.single_appointment()).starts_at == datetime.fromisoformat(
        "2026-11-29T12:00Z"
    )


async def test_change_from_a_calendar_is_written_to_the_audit_log(
    office: Office, calendar: Calendar
) -> None:
    visit = await office.book()
    await office.sync()
    (href,) = await calendar.events()
    await calendar.move(href, HOUR)

    await office.sync()

    found = text("SELECT actor, subject, detail ->> 'starts_at' AS at FROM audit_log")
    async with office.new_uow() as uow:
        rows = [tuple(row) for row in await uow.session.execute(found)]
    assert rows == [("Phone of Olga", str(visit), "2026-11-27T16:00:00.000Z")]


async def test_calendar_that_fails_for_an_hour_raises_an_alert(office: Office) -> None:
    fail = text("UPDATE calendar_account SET failures = :failures, error = 'Check the password.'")

    async def check_alerts(failures: int) -> dict[str, str]:
        async with office.new_uow() as uow:
            await uow.session.execute(fail, {"failures": failures})
            await sales.check_calendars(uow, now=NOW)
        return await open_alerts(office.new_uow)

    assert await check_alerts(5) == {}
    assert "Check the password." in (await check_alerts(6))["calendar_failing"]
    assert await check_alerts(0) == {}


async def test_deletion_in_the_old_calendar_does_not_cancel_a_reassigned_appointment(
    office: Office, calendar: Calendar
) -> None:
    users = [
        User(
            id=new_id(),
            email=f"{name}@granite.example.com",
            name=name,
            role="agent",
            status="active",
            password_hash="hash",  # noqa: S106 - not a real hash
            created_at=NOW,
            updated_at=NOW,
        )
        for name in ("olga", "paul")
    ]
    olga, paul = users[0].id, users[1].id
    async with office.new_uow() as uow:
        uow.session.add_all(users)
        await uow.session.flush()
        await uow.session.execute(update(CalendarAccount).values(assignee_id=olga))
    visit = await office.book(assignee_id=olga)
    await office.book(assignee_id=paul)
    await office.sync()
    (href,) = await calendar.events()
    await office.change(visit, assignee_id=paul)
    await calendar.delete(href)

    await office.sync()

    assert [one.status for one in await office.appointments()] == ["booked", "booked"]
    assert await calendar.events() == {}
    assert await office.sync() == SyncFigures()


async def test_event_that_becomes_free_does_not_cancel_its_appointment(
    office: Office, calendar: Calendar
) -> None:
    await office.book()
    await office.sync()
    (href,) = await calendar.events()
    body = (await calendar.http.get(href)).text.replace("TRANSP:OPAQUE", "TRANSP:TRANSPARENT")
    await calendar.http.put(href, content=body, headers={"Content-Type": "text/calendar"})
    lines = ("DTSTART:20261127T150000Z", "DURATION:PT1H", "TRANSP:TRANSPARENT")
    await calendar.put("free.ics", event_text("free", *lines))

    await office.sync()

    assert (await office.single_appointment()).status == "booked"
