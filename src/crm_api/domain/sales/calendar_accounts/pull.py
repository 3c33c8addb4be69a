"""Apply the changes of a calendar to the appointments.

If both an event and its appointment were changed, the change of the event is kept.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.sales.appointments import booking
from crm_api.domain.sales.appointments.models import Appointment, AppointmentKind, AppointmentStatus
from crm_api.domain.sales.calendar_accounts.dav_client import Changes, Resource
from crm_api.domain.sales.calendar_accounts.models import (
    CalendarAccount,
    CalendarBusyTime,
    CalendarEvent,
)
from crm_api.domain.sales.calendar_accounts.remote_events import (
    RemoteEvent,
    digest_of_location,
    read_remote_event,
)
from crm_api.domain.sales.calendars.rendering import HOST, CalendarEntry, digest_of, read_entry
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

BUSY_PAST, BUSY_FUTURE = timedelta(days=1), timedelta(days=180)
"""The occurrences of a recurring event are computed for this period: ``BUSY_PAST`` before now to
``BUSY_FUTURE`` after now.
"""
READ_AGAIN = timedelta(days=30)
"""The occurrences of a recurring event are computed again after this time."""
NO_UID = "unreadable:"
"""If an event cannot be read, its UID is unknown. The stored UID is then this prefix and the path
of the event.
"""


RELEASED: dict[str, Any] = dict.fromkeys(
    ("appointment_id", "base_starts_at", "base_ends_at", "digest", "location_digest")
)
"""The columns that become NULL when an event no longer belongs to an appointment."""


@dataclass(frozen=True, kw_only=True)
class KnownEvent:
    """An event of a calendar, as this service last read or wrote it.

    Attributes:
        href: The path of the event on the server.
        etag: The version that was last read or written; None if unknown or deleted in the calendar.
        read_at: When a recurring event was last read; None for an event that does not recur.
    """

    href: str
    etag: str | None
    is_gone: bool
    read_at: datetime | None


async def read_known_events(uow: UnitOfWork, *, account_id: UUID) -> dict[str, KnownEvent]:
    """Return the stored events of a calendar account.

    The keys of the result are the paths of the events on the server.
    """
    statement = select(
        CalendarEvent.href, CalendarEvent.etag, CalendarEvent.is_gone, CalendarEvent.read_at
    ).where(CalendarEvent.account_id == account_id)
    rows = typed_rows(KnownEvent, await uow.session.execute(statement))
    return {row.href: row for row in rows}


def hrefs_to_read(changes: Changes, known: dict[str, KnownEvent], *, now: datetime) -> list[str]:
    """Return the sorted paths of the events to read: new events and events that have changed.

    Recurring events are also read again from time to time, because their occurrences are computed
    for a limited period.
    """
    changed = {
        href
        for href, etag in changes.changed.items()
        if etag is None or (one := known.get(href)) is None or one.is_gone or one.etag != etag
    }
    old = {
        href
        for href, one in known.items()
        if one.read_at is not None and one.read_at < now - READ_AGAIN and not one.is_gone
    }
    return sorted(changed | (old - changes.deleted))


def deleted_hrefs(changes: Changes, known: dict[str, KnownEvent]) -> set[str]:
    """Return the paths of the stored events that were deleted in the calendar."""
    gone = changes.deleted
    if changes.is_whole:
        gone = gone | (known.keys() - changes.changed.keys())
    return {href for href in gone if href in known and not known[href].is_gone}


def parse_events(
    resources: Sequence[Resource], *, timezone: str, now: datetime
) -> list[tuple[Resource, RemoteEvent | None]]:
    """Parse calendar events from the server, and sort them by path.

    Recurring events take long to compute, so call this function in a thread.

    Returns:
        For each event: the event as the server stores it, and the parsed event. The parsed event is
        None if the event cannot be read.
    """
    zone = ZoneInfo(timezone)
    begin, end = now - BUSY_PAST, now + BUSY_FUTURE
    return [
        (one, read_remote_event(one.body or "", zone=zone, begin=begin, end=end))
        for one in sorted(resources, key=lambda resource: resource.href)
    ]


async def apply_events(
    uow: UnitOfWork,
    account: CalendarAccount,
    events: Sequence[tuple[Resource, RemoteEvent | None]],
    *,
    now: datetime,
) -> int:
    """Apply events to the appointments; return the number of appointments that changed.

    - If an event was moved, its appointment is moved too, even if it then overlaps another one.
    - A new event becomes an appointment of the account's user, unless it is cancelled, is marked as
      free time, or ended more than a day ago.
    - A recurring event only makes the user busy. If an event that a calendar program created
      becomes recurring, the event no longer belongs to its appointment. The appointment is
      cancelled, unless it has a contact.
    """
    changed = 0
    for resource, event in events:
        changed += await _apply(uow, account, resource, event, now=now)
    return changed


async def _apply(
    uow: UnitOfWork,
    account: CalendarAccount,
    resource: Resource,
    event: RemoteEvent | None,
    *,
    now: datetime,
) -> bool:
    uid = f"{NO_UID}{resource.href}" if event is None else event.uid
    known = await _find_known(uow, account.id, uid=uid, href=resource.href)
    if event is None or event.span is None:
        values: dict[str, Any] = {"read_at": None if event is None else now}
        is_changed = False
        if event is not None and known is not None and not uid.endswith(f"@{HOST}"):
            is_changed = await _release_appointment(uow, account, known, now=now)
            values |= RELEASED
        event_id = await _store(uow, known, resource, values, account_id=account.id, uid=uid)
        await _replace_busy_times(uow, event_id, event)
        return is_changed
    appointment_id = None if known is None else known.appointment_id
    if appointment_id is None:
        appointment_id = await _own_appointment(uow, account, uid)
    is_unsent = False
    if appointment_id is None:
        is_off = event.is_cancelled or event.is_free
        if is_off or event.span[1] < now - BUSY_PAST:
            await _store(uow, known, resource, {}, account_id=account.id, uid=uid)
            return False
        appointment_id = await _add_appointment(uow, account, event, now=now)
        is_changed = True
        entry = await read_entry(uow, appointment_id=appointment_id)
    else:
        before = await read_entry(uow, appointment_id=appointment_id)
        is_unsent = known is not None and known.digest not in {None, digest_of(before)}
        is_changed = await _change_appointment(uow, account, known, before, event, now=now)
        entry = await read_entry(uow, appointment_id=appointment_id)
    starts_at, ends_at = event.span
    values = {
        "appointment_id": appointment_id,
        "base_starts_at": starts_at,
        "base_ends_at": ends_at,
        "location_digest": digest_of_location(event.location),
        "read_at": None,
    }
    if is_changed and not is_unsent:
        # The event and the appointment are equal now. With the new hash, the next push to the
        # calendar does not write the event. If the appointment also has a change of a user that
        # is not in the calendar yet, the old hash stays, so that the next push writes the event.
        values["digest"] = digest_of(entry)
    event_id = await _store(uow, known, resource, values, account_id=account.id, uid=uid)
    await _replace_busy_times(uow, event_id, None)
    return is_changed


async def _release_appointment(
    uow: UnitOfWork, account: CalendarAccount, known: CalendarEvent, *, now: datetime
) -> bool:
    """Cancel the booked appointment of an event that recurs now; return whether it was cancelled.

    An appointment with a contact stays booked, because the person expects the visit. The next push
    writes a separate event for it.
    """
    if known.appointment_id is None:
        return False
    before = await read_entry(uow, appointment_id=known.appointment_id)
    is_visit = before.phone is not None
    if is_visit or before.status != AppointmentStatus.BOOKED or not _is_theirs(account, before):
        return False
    await _write(uow, account, before.id, {"status": AppointmentStatus.CANCELLED}, now=now)
    return True


async def _change_appointment(
    uow: UnitOfWork,
    account: CalendarAccount,
    known: CalendarEvent | None,
    before: CalendarEntry,
    event: RemoteEvent,
    *,
    now: datetime,
) -> bool:
    """Apply the change of an event to its appointment. Return whether the appointment changed.

    ``known`` is the event as this service last read or wrote it.

    - If the event has other times than ``known``, or was deleted and exists again, the appointment
      gets the times of the event. A cancelled appointment is booked again.
    - If the location of the event was changed, the appointment gets this location.
    - If the event is cancelled, a booked appointment is cancelled.
    """
    base = None if known is None else (known.base_starts_at, known.base_ends_at)
    values: dict[str, Any] = {}
    is_back = known is not None and known.is_gone
    if event.is_cancelled:
        if before.status == AppointmentStatus.BOOKED:
            values["status"] = AppointmentStatus.CANCELLED
    elif base is not None and (event.span != base or is_back):
        values["starts_at"], values["ends_at"] = event.span or base
        if before.status == AppointmentStatus.CANCELLED:
            values["status"] = AppointmentStatus.BOOKED
    if not event.is_cancelled and _has_new_location(known, before, event):
        values["location"] = event.location
    if not values or _is_erased(before, event) or not _is_theirs(account, before):
        return False
    await _write(uow, account, before.id, values, now=now)
    return True


def _has_new_location(
    known: CalendarEvent | None, before: CalendarEntry, event: RemoteEvent
) -> bool:
    """Return whether the location was changed in the calendar, so that the appointment gets it.

    ``known`` is the event as this service last read or wrote it. The result is False if the event
    has no location, or has the location of the appointment. If the location of ``known`` is not
    stored, and the appointment has changed since the last synchronisation, the result is also
    False. The locations may then differ because a user changed the appointment.
    """
    if known is None or known.digest is None:
        return False
    if event.location is None or event.location == (before.location or before.address):
        return False
    if known.location_digest is None:
        return known.digest == digest_of(before)
    return known.location_digest != digest_of_location(event.location)


async def _write(
    uow: UnitOfWork,
    account: CalendarAccount,
    appointment_id: UUID,
    values: dict[str, Any],
    *,
    now: datetime,
) -> None:
    """Change an appointment, and record in the audit log which calendar caused the change."""
    await booking.write_changes(
        uow, values, appointment_id=appointment_id, allow_conflict=True, now=now
    )
    times = {name: format_instant(one) for name, one in values.items() if name.endswith("_at")}
    status = {"status": values["status"].value} if "status" in values else {}
    await note_decision(
        uow,
        actor=account.name,
        action="change_appointment_from_calendar",
        subject=str(appointment_id),
        detail={"account_id": str(account.id), **times, **status},
        now=now,
    )


def _is_theirs(account: CalendarAccount, entry: CalendarEntry) -> bool:
    """Return whether the calendar may change an appointment.

    A calendar of one user may change only the appointments of this user.
    """
    return account.assignee_id in {None, entry.assignee_id}


def _is_erased(entry: CalendarEntry, event: RemoteEvent) -> bool:
    """Return whether this service made the event for a contact that was erased or deleted."""
    return entry.phone is None and event.uid.endswith(f"@{HOST}")


async def _add_appointment(
    uow: UnitOfWork, account: CalendarAccount, event: RemoteEvent, *, now: datetime
) -> UUID:
    starts_at, ends_at = event.span or (now, now)
    values = {
        "id": new_id(),
        "contact_id": None,
        "property_id": None,
        "kind": AppointmentKind.OTHER,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "timezone": account.timezone,
        "assignee_id": account.assignee_id,
        "location": event.location,
        "note": event.summary,
        "status": AppointmentStatus.BOOKED,
        "author": account.name,
        "created_at": now,
        "updated_at": now,
    }
    made = await booking.insert_appointment(uow, values, allow_conflict=True, may_be_disabled=True)
    return made.id


async def delete_events(
    uow: UnitOfWork, account: CalendarAccount, hrefs: Collection[str], *, now: datetime
) -> int:
    """Record that events were deleted in the calendar, and cancel their booked appointments.

    Args:
        hrefs: The paths of the deleted events on the calendar server.

    Returns:
        The number of cancelled appointments.
    """
    changed = 0
    for href in sorted(hrefs):
        statement = select(CalendarEvent).where(
            CalendarEvent.account_id == account.id, CalendarEvent.href == href
        )
        for known in (await uow.session.scalars(statement)).all():
            changed += await _delete_event(uow, account, known, now=now)
    return changed


async def _delete_event(
    uow: UnitOfWork, account: CalendarAccount, known: CalendarEvent, *, now: datetime
) -> bool:
    digest, is_changed = known.digest, False
    await _replace_busy_times(uow, known.id, None)
    if known.appointment_id is not None:
        before = await read_entry(uow, appointment_id=known.appointment_id)
        if before.status == AppointmentStatus.BOOKED and _is_theirs(account, before):
            cancelled = {"status": AppointmentStatus.CANCELLED}
            await _write(uow, account, before.id, cancelled, now=now)
            is_changed = True
        digest = digest_of(await read_entry(uow, appointment_id=known.appointment_id))
    await uow.session.execute(
        update(CalendarEvent)
        .where(CalendarEvent.id == known.id)
        .values(is_gone=True, etag=None, digest=digest)
    )
    return is_changed


def known_event_statement(*, account_id: UUID, uid: str) -> Select[CalendarEvent]:
    """Return the statement that finds a stored event of a calendar account by its UID."""
    return select(CalendarEvent).where(
        CalendarEvent.account_id == account_id, CalendarEvent.uid == uid
    )


async def _find_known(
    uow: UnitOfWork, account_id: UUID, *, uid: str, href: str
) -> CalendarEvent | None:
    """Return the stored event with this UID; None if no stored event has it.

    The search does not use the path ``href``, because the path of an event may change. If no stored
    event has the UID, delete the stored event that has this path and belongs to no appointment.
    """
    statement = known_event_statement(account_id=account_id, uid=uid)
    found = await uow.session.scalar(statement.execution_options(populate_existing=True))
    if found is not None:
        return found
    # A row with the same path may exist: for an event that could not be read, or for an event with
    # another UID. This row is deleted.
    await uow.session.execute(
        delete(CalendarEvent).where(
            CalendarEvent.account_id == account_id,
            CalendarEvent.href == href,
            CalendarEvent.appointment_id.is_(None),
        )
    )
    return None


async def _own_appointment(uow: UnitOfWork, account: CalendarAccount, uid: str) -> UUID | None:
    """Return the id of the appointment for which this service made an event with this UID.

    The result is None in these cases:

    - This service did not make the event.
    - The appointment does not exist any more.
    - The calendar belongs to one user, and the appointment is now not assigned to this user.
    """
    name, _, host = uid.partition("@")
    if host != HOST:
        return None
    try:
        wanted = UUID(name)
    except ValueError:
        return None
    statement = select(Appointment.id).where(Appointment.id == wanted)
    if account.assignee_id is not None:
        statement = statement.where(Appointment.assignee_id == account.assignee_id)
    found: UUID | None = await uow.session.scalar(statement)
    return found


async def _store(
    uow: UnitOfWork,
    known: CalendarEvent | None,
    resource: Resource,
    values: dict[str, Any],
    *,
    account_id: UUID,
    uid: str,
) -> UUID:
    """Store the present version of an event; return the id of its row."""
    given = {**values, "href": resource.href, "etag": resource.etag, "is_gone": False}
    if known is not None:
        await uow.session.execute(
            update(CalendarEvent).where(CalendarEvent.id == known.id).values(given)
        )
        return known.id
    made = new_id()
    await uow.session.execute(
        insert(CalendarEvent).values({**given, "id": made, "account_id": account_id, "uid": uid})
    )
    return made


async def _replace_busy_times(uow: UnitOfWork, event_id: UUID, event: RemoteEvent | None) -> None:
    await uow.session.execute(delete(CalendarBusyTime).where(CalendarBusyTime.event_id == event_id))
    if event is not None and event.times:
        rows = [
            {"id": new_id(), "event_id": event_id, "starts_at": first, "ends_at": over}
            for first, over in event.times
        ]
        await uow.session.execute(insert(CalendarBusyTime).values(rows))
