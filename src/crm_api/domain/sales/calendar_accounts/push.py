"""Write changed appointments to a calendar, and delete events that must not be in it any more.

The UID, the start and the end of an event are stored before the request that writes the event. The
event's new version is stored after the response. If the response is lost, the next synchronisation
finds the event by its UID, and does not create the event again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.sales.appointments.models import BUSY, Appointment
from crm_api.domain.sales.calendar_accounts.dav_client import DavClient, Resource
from crm_api.domain.sales.calendar_accounts.models import CalendarAccount, CalendarEvent
from crm_api.domain.sales.calendar_accounts.remote_events import digest_of_location, move_event
from crm_api.domain.sales.calendars.rendering import (
    HOST,
    CalendarEntry,
    digest_of,
    entries_statement,
    uid_of,
    write_calendar,
)
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, typed_rows
from crm_api.platform.ids import new_id

PAST, FUTURE = timedelta(days=1), timedelta(days=400)
"""A calendar gets the appointments that end later than ``PAST`` before now, and begin earlier than
``FUTURE`` after now.
"""
MOST_ENTRIES = 2_000


@dataclass(frozen=True, kw_only=True)
class PlannedWrite:
    """An event to write or to delete.

    Attributes:
        entry: The appointment to write; None: delete the event.
        etag: The version of the event in the calendar; None if no version is known.
    """

    event_id: UUID
    uid: str
    href: str
    etag: str | None
    entry: CalendarEntry | None


async def plan_writes(
    uow: UnitOfWork, account: CalendarAccount, client: DavClient, *, now: datetime
) -> list[PlannedWrite]:
    """Return the events that must be written or deleted on the CalDAV server.

    For a new event, this function also chooses its path and its UID and stores them in the
    database.
    """
    known = {
        one.appointment_id: one
        for one in await uow.session.scalars(
            select(CalendarEvent)
            .where(
                CalendarEvent.account_id == account.id, CalendarEvent.appointment_id.is_not(None)
            )
            .execution_options(populate_existing=True)
        )
    }
    writes = [_deletion(known[one]) for one in await _find_off(uow, account)]
    for entry in await _read_entries(uow, account, now=now):
        event = known.get(entry.id)
        if event is not None and event.digest == digest_of(entry):
            continue
        if event is None:
            event = await _intend(uow, account, entry, client)
        writes.append(
            PlannedWrite(
                event_id=event.id, uid=event.uid, href=event.href, etag=event.etag, entry=entry
            )
        )
    return writes


# This selects the events to delete from the calendar: the appointment was cancelled, or has another
# assignee now. An event that this service created is also deleted if its person was erased, because
# the event shows data about the person.
FIND_OFF = text("""
    SELECT e.appointment_id FROM calendar_event e
    JOIN appointment a ON a.id = e.appointment_id
    WHERE e.account_id = :account_id AND NOT e.is_gone
      AND (a.status = 'cancelled' OR a.assignee_id IS DISTINCT FROM CAST(:assignee_id AS uuid)
               AND CAST(:assignee_id AS uuid) IS NOT NULL
           OR a.contact_id IS NULL AND e.uid LIKE :own)
    ORDER BY e.id
""")


async def _find_off(uow: UnitOfWork, account: CalendarAccount) -> list[UUID]:
    values = {
        "account_id": account.id,
        "assignee_id": account.assignee_id,
        "own": f"%@{HOST}",
    }
    return list(await uow.session.scalars(FIND_OFF, values))


async def _read_entries(
    uow: UnitOfWork, account: CalendarAccount, *, now: datetime
) -> list[CalendarEntry]:
    """Return the appointments that must be in the calendar, the earliest first."""
    statement = entries_statement().where(
        Appointment.starts_at < now + FUTURE,
        Appointment.starts_at > now - PAST - timedelta(days=31),
        Appointment.ends_at > now - PAST,
        Appointment.status.in_(BUSY),
    )
    if account.assignee_id is not None:
        statement = statement.where(Appointment.assignee_id == account.assignee_id)
    # An appointment without a person comes from an event of a calendar, or its person was erased.
    # Such an appointment is written only to the calendar from which it comes.
    theirs = select(CalendarEvent.appointment_id).where(
        CalendarEvent.account_id == account.id, CalendarEvent.uid.not_like(f"%@{HOST}")
    )
    statement = statement.where(Appointment.contact_id.is_not(None) | Appointment.id.in_(theirs))
    ordered = statement.order_by(Appointment.starts_at, Appointment.id).limit(MOST_ENTRIES)
    return typed_rows(CalendarEntry, await uow.session.execute(ordered))


def _deletion(event: CalendarEvent) -> PlannedWrite:
    return PlannedWrite(
        event_id=event.id, uid=event.uid, href=event.href, etag=event.etag, entry=None
    )


async def _intend(
    uow: UnitOfWork, account: CalendarAccount, entry: CalendarEntry, client: DavClient
) -> CalendarEvent:
    """Store a new event in the database, before the request that writes it to the calendar.

    Because the event is stored, the next synchronisation finds it even if the response is lost.
    """
    statement = (
        insert(CalendarEvent)
        .values(
            id=new_id(),
            account_id=account.id,
            appointment_id=entry.id,
            href=client.href_of(f"{entry.id}.ics"),
            uid=uid_of(entry.id),
        )
        .returning(CalendarEvent)
    )
    return (await uow.session.scalars(statement)).one()


async def write_one(new_uow: UnitOfWorkFactory, client: DavClient, planned: PlannedWrite) -> bool:
    """Write or delete one event; return False if the event was changed in the calendar meanwhile.

    A changed event is not written or deleted. The next synchronisation reads the event, and applies
    the change to the appointment.

    Raises:
        CalendarServerError: The server cannot be used now.
    """
    if planned.entry is None:
        done = await client.delete_event(planned.href, etag=planned.etag)
        if done:
            unknown = {"etag": None, "digest": None, "location_digest": None}
            await _note(new_uow, planned, {"is_gone": True, **unknown})
        return done
    entry = planned.entry
    body = await _body(client, planned, entry)
    if body is None:
        return False
    await _note(
        new_uow, planned, {"base_starts_at": entry.starts_at, "base_ends_at": entry.ends_at}
    )
    written = await client.write_event(planned.href, body, etag=planned.etag)
    if written is None:
        return False
    values = {"etag": written.etag, "digest": digest_of(entry), "is_gone": False}
    if _writes_location(planned):
        # The location is stored only after the response. If the server refuses the request, the
        # next synchronisation compares the event with its old location.
        values["location_digest"] = digest_of_location(entry.location or entry.address)
    await _note(new_uow, planned, values)
    return True


def _writes_location(planned: PlannedWrite) -> bool:
    """Return whether the text of an event is made from the appointment, with its location.

    If the event was created with a calendar program and still exists, only its times are replaced.
    """
    return planned.uid.endswith(f"@{HOST}") or planned.etag is None


async def _body(client: DavClient, planned: PlannedWrite, entry: CalendarEntry) -> bytes | None:
    """Return the iCalendar text to write; None if the event was changed in the calendar meanwhile.

    Usually, the text is made from the appointment. But if the event was created with a calendar
    program and still exists in the calendar, only the times in the event's present text are
    replaced.
    """
    if planned.uid.endswith(f"@{HOST}"):
        return write_calendar([entry])
    if planned.etag is None:
        return write_calendar([entry], uid=planned.uid)
    present: list[Resource] = await client.read_events([planned.href])
    if len(present) != 1 or present[0].etag != planned.etag:
        return None
    return move_event(
        present[0].body or "",
        starts_at=entry.starts_at,
        ends_at=entry.ends_at,
        zone=ZoneInfo(entry.timezone),
    )


async def _note(new_uow: UnitOfWorkFactory, planned: PlannedWrite, values: dict[str, Any]) -> None:
    async with new_uow() as uow:
        await uow.session.execute(
            update(CalendarEvent).where(CalendarEvent.id == planned.event_id).values(values)
        )
