"""Request and response models of appointments."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StrictBool

from crm_api.domain.kit.examples import CONTACT, example, example_id
from crm_api.domain.kit.fields import (
    BlankIsNull,
    OptionalLine200,
    RequestInstant,
    Text,
    TimeZoneName,
)
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.sales.appointments.models import (
    Appointment,
    AppointmentKind,
    AppointmentStatus,
)

LOCATION = "12 Main Street, Quincy, MA 02169"
NOTE = "Crack in the basement wall; the dog is friendly."
UNSET = datetime.max.replace(tzinfo=UTC)

NoteText = Annotated[str, Text(longest=2_000, has_lines=True)]
OptionalNote = Annotated[NoteText | None, BlankIsNull]


class AppointmentCreate(RequestModel):
    """A new appointment.

    Attributes:
        contact_id: The contact of the appointment.
        property_id: The property that the appointment is about; null if none.
        kind: What the appointment is for.
        starts_at: When the appointment begins.
        ends_at: When the appointment ends; at most 31 days after the start.
        timezone: The IANA time zone that calendars and reminders use. The default is the contact's,
            or `America/New_York` if unknown.
        assignee_id: The id of the user who goes to the appointment; null if none.
        location: Where the appointment is, in one line. If null, calendars show the address of the
            property, or of the contact if there is no property.
        note: What the assignee must know; shown in the assignee's calendar.
        status: The state of the appointment.
        allow_conflict: True to allow another appointment of the assignee at this time.
    """

    model_config = example(
        contact_id=CONTACT,
        kind="assessment",
        starts_at="2026-12-01T15:00:00Z",
        ends_at="2026-12-01T16:00:00Z",
        timezone="America/New_York",
        assignee_id=example_id("user"),
        location=LOCATION,
        note=NOTE,
    )

    contact_id: UUID
    property_id: UUID | None = None
    kind: AppointmentKind = AppointmentKind.ASSESSMENT
    starts_at: RequestInstant
    ends_at: RequestInstant
    timezone: TimeZoneName | None = None
    assignee_id: UUID | None = None
    location: OptionalLine200 = None
    note: OptionalNote = None
    status: AppointmentStatus = AppointmentStatus.BOOKED
    allow_conflict: StrictBool = False


class AppointmentUpdate(RequestModel):
    """The fields of an appointment to change. A field that is left out keeps its value.

    Attributes:
        contact_id: The contact of the appointment.
        property_id: The property that the appointment is about; null if none.
        kind: What the appointment is for.
        starts_at: When the appointment begins.
        ends_at: When the appointment ends; at most 31 days after the start.
        timezone: The IANA time zone in which calendars and reminders show the times.
        assignee_id: The id of the user who goes to the appointment; null if no user is assigned.
        location: Where the appointment is, in one line. If null, calendars show the address of the
            property, or of the contact if there is no property.
        note: What the assignee must know; null if there is no note.
        status: The state of the appointment.
        allow_conflict: True to allow another appointment of the assignee at this time.
    """

    model_config = example(
        starts_at="2026-12-02T15:00:00Z", ends_at="2026-12-02T16:00:00Z", status="booked"
    )

    contact_id: UUID = UUID(int=0)
    property_id: UUID | None = None
    kind: AppointmentKind = AppointmentKind.OTHER
    starts_at: RequestInstant = UNSET
    ends_at: RequestInstant = UNSET
    timezone: TimeZoneName = "UTC"
    assignee_id: UUID | None = None
    location: OptionalLine200 = None
    note: OptionalNote = None
    status: AppointmentStatus = AppointmentStatus.BOOKED
    allow_conflict: StrictBool = False


@dataclass(frozen=True, kw_only=True)
class FoundAppointment:
    """An appointment, with the names of its contact and its assignee.

    Attributes:
        contact_name: The first and last name of the contact; None if there is no contact or no
            name.
        assignee_name: The name of the assignee; None if no user is assigned.
    """

    appointment: Appointment
    contact_name: str | None
    assignee_name: str | None


class AppointmentRead(ReadModel):
    """An appointment.

    Attributes:
        contact_id: The contact of the appointment; null if erased, or for an event of a calendar.
        contact_name: First and last name of the contact; null if unknown.
        property_id: The property that the appointment is about; null if none.
        kind: What the appointment is for.
        starts_at: When the appointment begins.
        ends_at: When the appointment ends.
        timezone: The IANA time zone in which calendars and reminders show the times.
        assignee_id: The id of the user who goes to the appointment; null if no user is assigned.
        assignee_name: The name of the assignee; null if no user is assigned.
        location: Where the appointment is. If null, calendars show the address of the property, or
            of the contact if there is no property.
        note: What the assignee must know; null if there is no note.
        status: The state of the appointment.
        author: The creator: name of an API key, e-mail address of a user, or name of a calendar
            account.
    """

    model_config = example(
        contact_id=CONTACT,
        contact_name="Ada Lovelace",
        property_id=None,
        kind="assessment",
        starts_at="2026-12-01T15:00:00.000Z",
        ends_at="2026-12-01T16:00:00.000Z",
        assignee_name="Olga Meyer",
        location=LOCATION,
        note=NOTE,
        status="booked",
        author="olga@granite.example.com",
    )

    id: Id
    contact_id: Id | None
    contact_name: str | None
    property_id: Id | None
    kind: Annotated[str, Vocabulary(AppointmentKind)]
    starts_at: Instant
    ends_at: Instant
    timezone: str
    assignee_id: Id | None
    assignee_name: str | None
    location: str | None
    note: str | None
    status: Annotated[str, Vocabulary(AppointmentStatus)]
    author: str
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: FoundAppointment) -> Self:
        """Build the response from an appointment and the names of its contact and assignee."""
        return cls.built_from(
            found.appointment,
            contact_name=found.contact_name,
            assignee_name=found.assignee_name,
        )


class FreeTime(ReadModel):
    """A period of the working hours in which the requested user is free.

    If no user is requested, all users are free in the period.

    Attributes:
        starts_at: The first instant of the period.
        ends_at: The instant at which the period is over.
    """

    starts_at: Instant
    ends_at: Instant


class FreeTimesRead(ReadModel):
    """The periods of the working hours in which the requested user is free.

    If no user is requested, all users are free in these periods.

    Attributes:
        data: The periods, the earliest first.
        timezone: The IANA time zone of the working hours.
    """

    data: list[FreeTime] = Field(default_factory=list)
    timezone: str
