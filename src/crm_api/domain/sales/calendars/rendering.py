"""Write appointments as iCalendar (RFC 5545), each in its time zone.

An event shows the name, the address and the phone number of the person, and the note for the
assignee. It shows nothing else about the person.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, case, func, select

from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.properties import Property
from crm_api.domain.sales.appointments.errors import AppointmentNotFoundError
from crm_api.domain.sales.appointments.listing import NAME
from crm_api.domain.sales.appointments.models import Appointment, AppointmentStatus
from crm_api.platform.database import UnitOfWork, typed_row

if TYPE_CHECKING:
    import icalendar

PRODUCT = "-//crm-api//appointments//EN"
HOST = "appointments.crm-api"
"""The part of every UID (id of a calendar event) after the @. It never changes, so the UIDs stay
the same if the service moves to another host."""
MARGIN = timedelta(days=400)
"""An iCalendar file defines each time zone for a limited period. The period begins this long before
the first event in the time zone, and ends this long after the last one.
"""


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """An appointment with everything that a calendar shows.

    Attributes:
        contact_name: First and last name of the contact; None if there is no contact or no name.
        phone: The phone number of the contact (E.164); None if there is no contact.
        address: The address of the property. If there is no property, the address of the contact.
            None if the address is unknown.
    """

    id: UUID
    kind: str
    starts_at: datetime
    ends_at: datetime
    timezone: str
    assignee_id: UUID | None
    location: str | None
    note: str | None
    status: str
    sequence: int
    created_at: datetime
    updated_at: datetime
    contact_name: str | None
    phone: str | None
    address: str | None


def uid_of(appointment_id: UUID) -> str:
    """Return the UID of the event of an appointment; the UID never changes."""
    return f"{appointment_id}@{HOST}"


def entries_statement() -> Select[*tuple[Any, ...]]:
    """Return the statement that reads appointments with everything that a calendar shows.

    The caller adds conditions and an order.
    """
    home = _address_of(Property)
    return (
        select(
            Appointment.id,
            Appointment.kind,
            Appointment.starts_at,
            Appointment.ends_at,
            Appointment.timezone,
            Appointment.assignee_id,
            Appointment.location,
            Appointment.note,
            Appointment.status,
            Appointment.sequence,
            Appointment.created_at,
            Appointment.updated_at,
            NAME.label("contact_name"),
            Contact.phone,
            case((Property.id.is_not(None), home), else_=_address_of(Contact)).label("address"),
        )
        .outerjoin(
            Contact, and_(Contact.id == Appointment.contact_id, Contact.deleted_at.is_(None))
        )
        .outerjoin(Property, Property.id == Appointment.property_id)
    )


def _address_of(table: type[Contact | Property]) -> Any:  # noqa: ANN401 - an expression of text
    area = func.nullif(func.concat_ws(" ", table.state, table.postal_code), "")
    return func.nullif(func.concat_ws(", ", table.street, table.city, area), "")


async def read_entry(uow: UnitOfWork, *, appointment_id: UUID) -> CalendarEntry:
    """Return an appointment with everything that a calendar shows, such as the contact's name.

    Raises:
        AppointmentNotFoundError: The appointment does not exist.
    """
    statement = entries_statement().where(Appointment.id == appointment_id)
    found = typed_row(CalendarEntry, (await uow.session.execute(statement)).one_or_none())
    if found is None:
        raise AppointmentNotFoundError
    return found


def digest_of(entry: CalendarEntry) -> bytes:
    """Return a hash of everything that the event of an appointment shows."""
    shown = {**asdict(entry), "sequence": 0, "created_at": None, "updated_at": None}
    return blake2b(repr(sorted(shown.items())).encode(), digest_size=16).digest()


def write_calendar(
    entries: Sequence[CalendarEntry],
    *,
    name: str | None = None,
    busy_only: bool = False,
    uid: str | None = None,
) -> bytes:
    """Return an iCalendar file with these appointments and the time zones that they need.

    Args:
        name: The name that calendar programs show; None for no name.
        busy_only: True leaves out the kind, the person, the location and the note.
        uid: The UID of the event. Give it only if there is one entry, and a calendar program
            created its event. If None, ``uid_of`` makes the UID of each entry.
    """
    import icalendar  # noqa: PLC0415 - 9 MB and 60 ms, which only calendars need

    calendar = icalendar.Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    if name is not None:
        calendar.add("method", "PUBLISH")
        calendar.add("name", name)
        calendar.add("x-wr-calname", name)
        calendar.add("refresh-interval", timedelta(minutes=15), {"value": "DURATION"})
    for zone in _zones(entries):
        calendar.add_component(zone)
    for entry in entries:
        event = event_of(entry, busy_only=busy_only)
        if uid is not None:
            event["uid"] = uid
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def event_of(entry: CalendarEntry, *, busy_only: bool = False) -> "icalendar.Event":
    """Return an appointment as a calendar event.

    The same entry always gives the same event. If ``busy_only`` is True, the event shows only the
    times and the word "Busy".
    """
    import icalendar  # noqa: PLC0415 - as above

    zone = ZoneInfo(entry.timezone)
    event = icalendar.Event()
    event.add("uid", uid_of(entry.id))
    event.add("dtstamp", entry.updated_at.astimezone(UTC).replace(microsecond=0))
    event.add("created", entry.created_at.astimezone(UTC).replace(microsecond=0))
    event.add("last-modified", entry.updated_at.astimezone(UTC).replace(microsecond=0))
    event.add("sequence", entry.sequence)
    event.add("dtstart", entry.starts_at.astimezone(zone))
    event.add("dtend", entry.ends_at.astimezone(zone))
    is_off = entry.status in {AppointmentStatus.CANCELLED, AppointmentStatus.NO_SHOW}
    event.add("status", "CANCELLED" if is_off else "CONFIRMED")
    event.add("transp", "TRANSPARENT" if is_off else "OPAQUE")
    if busy_only:
        event.add("summary", "Busy")
        event.add("class", "PRIVATE")
        return event
    event.add("summary", summary_of(entry))
    if place := entry.location or entry.address:
        event.add("location", place)
    if description := "\n".join(filter(None, (entry.phone, entry.note))):
        event.add("description", description)
    return event


def summary_of(entry: CalendarEntry) -> str:
    """Return the title of an event: the kind, and the name or phone number of the person."""
    kind = {"assessment": "Assessment", "repair": "Repair"}.get(entry.kind, "Appointment")
    person = entry.contact_name or entry.phone
    return kind if person is None else f"{kind}: {person}"


def _zones(entries: Iterable[CalendarEntry]) -> "list[icalendar.Timezone]":
    """Return one VTIMEZONE component for each time zone of the entries, except UTC.

    A component defines the time zone for the period of its entries, and for 400 days (``MARGIN``)
    before and after this period.
    """
    import icalendar  # noqa: PLC0415 - as above

    spans: dict[str, tuple[datetime, datetime]] = {}
    for entry in entries:
        first, last = spans.get(entry.timezone, (entry.starts_at, entry.ends_at))
        spans[entry.timezone] = min(first, entry.starts_at), max(last, entry.ends_at)
    return [
        icalendar.Timezone.from_tzid(
            name, first_date=(first - MARGIN).date(), last_date=(last + MARGIN).date()
        )
        for name, (first, last) in sorted(spans.items())
        if name != "UTC"
    ]
