"""Routes of appointments."""

from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from fastapi.responses import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import CONTACT, example_id
from crm_api.domain.kit.fields import ClockTime
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.appointments import booking, free_times, listing
from crm_api.domain.sales.appointments.free_times import WorkingHours
from crm_api.domain.sales.appointments.listing import export_appointments
from crm_api.domain.sales.appointments.models import AppointmentStatus
from crm_api.domain.sales.appointments.schemas import (
    AppointmentCreate,
    AppointmentRead,
    AppointmentUpdate,
    FreeTime,
    FreeTimesRead,
)
from crm_api.domain.sales.calendar_accounts import service
from crm_api.domain.sales.calendars import rendering
from crm_api.platform import clock
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer, csv_list
from crm_api.routers.http.deps import Caller, ListUow, Paging, State, Uow, require
from crm_api.routers.http.query_parameters import QueryTime, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with
from crm_api.routers.sales.recorders import recorder_of

router = ResourceRouter(prefix="/v1/appointments", tags=["appointments"])
Reader = Annotated[Caller, require(Scope.SALES_READ)]
Writer = Annotated[Caller, require(Scope.SALES_WRITE)]
CALENDAR = "text/calendar"
CALENDAR_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The calendar, as iCalendar text.",
        "content": {
            CALENDAR: {
                "schema": {"type": "string"},
                "example": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n…\r\nEND:VCALENDAR\r\n",
            }
        },
    }
}
NEXT = timedelta(days=14)
"""Length of the period in which free times are searched if the request has no parameter ``to``."""


APPOINTMENTS_AS_CSV = csv_list(
    {
        "id": example_id("appointment"),
        "contact_id": CONTACT,
        "contact_name": "Ada Lovelace",
        "property_id": "",
        "kind": "assessment",
        "starts_at": "2026-12-01T15:00:00.000Z",
        "ends_at": "2026-12-01T16:00:00.000Z",
        "timezone": "America/New_York",
        "assignee_id": example_id("user"),
        "assignee_name": "Olga Meyer",
        "location": "12 Main Street",
        "note": "",
        "status": "booked",
        "author": "olga@granite.example.com",
        "created_at": "2026-11-30T15:04:05.000Z",
        "updated_at": "2026-11-30T15:04:05.000Z",
    }
)


class AppointmentAssignee(StrEnum):
    """Values of the query parameter `assignee` that are not the id of a user.

    Attributes:
        ME: The user who sent the request.
        NONE: No assignee.
    """

    ME = "me"
    NONE = "none"


class Weekday(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


From = Annotated[
    QueryTime | None,
    Query(
        alias="from",
        description="The start of the period. A date means midnight in `timezone`.",
        examples=["2026-12-01"],
    ),
]
To = Annotated[
    QueryTime | None,
    Query(
        description="The end of the period (exclusive). A date means midnight in `timezone`.",
        examples=["2026-12-08"],
    ),
]


@router.post(
    "",
    status_code=201,
    openapi_extra=fails_with(
        "appointment_conflict",
        "contact_not_found",
        "invalid_appointment_times",
        "property_not_found",
        "unknown_assignee",
    ),
)
async def book_appointment(
    body: AppointmentCreate, uow: Uow, state: State, caller: Writer
) -> AppointmentRead:
    """Book an appointment. This is refused if the assignee has another appointment at this time.

    If the status is `booked` or `held` (the appointment took place), an outcome is recorded too. An
    outcome is a result of the work with a person. The insight figures count outcomes, and credit
    outcomes to campaigns.
    """
    async with uow:
        now = await uow.database_now()
        made = await booking.book_appointment(
            uow, body, recorder=recorder_of(caller, state), now=now
        )
        await service.request_sync(uow, now=now)
        found = await listing.read_appointment(uow, appointment_id=made.id)
    return AppointmentRead.of(found)


@router.get(
    "",
    response_model=PageRead[AppointmentRead],
    responses=APPOINTMENTS_AS_CSV,
)
async def list_appointments(
    uow: ListUow,
    app: State,
    page: Paging,
    as_csv: WantsCsv,
    caller: Reader,
    *,
    begin: From = None,
    to: To = None,
    zone: QueryZone,
    assignee: Annotated[
        AppointmentAssignee | UUID | None,
        Query(
            description="`me`: your appointments; `none`: unassigned appointments; or the id of a "
            "user. No appointments are assigned to an API key."
        ),
    ] = None,
    contact_id: Annotated[
        UUID | None, Query(description="Return only appointments with this contact.")
    ] = None,
    property_id: Annotated[
        UUID | None, Query(description="Return only appointments about this property.")
    ] = None,
    status: Annotated[
        list[AppointmentStatus] | None,
        Query(description="Return only appointments with one of these statuses."),
    ] = None,
) -> PageRead[AppointmentRead] | Response:
    """List the appointments that take place in a period, the earliest start first.

    A JSON response is one page. A CSV response contains all appointments that match.
    """
    wanted = listing.AppointmentFilter(
        starting=start_of(begin, zone),
        ending=start_of(to, zone),
        assignee=UUID(caller.id) if assignee == AppointmentAssignee.ME else assignee,
        contact_id=contact_id,
        property_id=property_id,
        statuses=tuple(status or ()),
    )
    if as_csv:
        return csv_answer(export_appointments(app.new_list_uow, wanted), name="appointments")
    async with uow:
        found = await listing.list_appointments(uow, wanted, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, AppointmentRead.of)


@router.get("/free", openapi_extra=fails_with("invalid_period", "invalid_working_hours"))
async def find_free_times(
    uow: Uow,
    _caller: Reader,
    *,
    begin: From = None,
    to: To = None,
    zone: QueryZone,
    assignee_id: Annotated[
        UUID | None,
        Query(
            description="The id of the user who must be free. By default, all users must be free."
        ),
    ] = None,
    duration_minutes: Annotated[
        int, Query(ge=5, le=1440, description="The shortest period to return, in minutes.")
    ] = 60,
    day_start: Annotated[
        ClockTime | None,
        Query(
            description="When a working day begins, in `timezone`. The default is 09:00 if you "
            "give `day_end` or `day`."
        ),
    ] = None,
    day_end: Annotated[
        ClockTime | None,
        Query(
            description="When a working day ends, in `timezone`. The default is 18:00 if you give "
            "`day_start` or `day`."
        ),
    ] = None,
    day: Annotated[
        list[Weekday] | None,
        Query(
            description="The working days of the week. The default is Monday to Friday if you give "
            "`day_start` or `day_end`."
        ),
    ] = None,
) -> FreeTimesRead:
    """Find the periods in the working hours in which one user is free, or all users are free.

    Without `day_start`, `day_end` and `day`, the working hours are the company's office hours, or
    Monday to Friday from 09:00 to 18:00 if none are set. Holidays are left out. By default, the
    search begins now and ends after 14 days.
    """
    days = list(Weekday)
    first: datetime = start_of(begin, zone) or clock.now()
    async with uow:
        hours: free_times.Hours | None = None
        if day_start is None and day_end is None and day is None:
            hours = await free_times.read_office_times(uow)
        hours = hours or WorkingHours(
            days=frozenset(map(days.index, day or days[:5])),
            start=day_start or time(9),
            end=day_end or time(18),
            zone=zone,
            holidays=await free_times.read_holidays(uow),
        )
        spans = await free_times.find_free_times(
            uow,
            hours,
            begin=first,
            end=start_of(to, zone) or first + NEXT,
            assignee_id=assignee_id,
            shortest=timedelta(minutes=duration_minutes),
        )
    found = [FreeTime(starts_at=first, ends_at=over) for first, over in spans]
    return FreeTimesRead(data=found, timezone=zone.key)


@router.get(
    "/{appointment_id}.ics",
    response_class=Response,
    responses=CALENDAR_FILE,
)
async def get_appointment_file(appointment_id: UUID, uow: Uow, _caller: Reader) -> Response:
    """Return an appointment as an iCalendar file (RFC 5545)."""
    async with uow:
        entry = await rendering.read_entry(uow, appointment_id=appointment_id)
    return Response(
        rendering.write_calendar([entry]),
        media_type=f"{CALENDAR}; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="appointment.ics"'},
    )


@router.get("/{appointment_id}")
async def get_appointment(appointment_id: UUID, uow: Uow, _caller: Reader) -> AppointmentRead:
    """Return one appointment."""
    async with uow:
        found = await listing.read_appointment(uow, appointment_id=appointment_id)
    return AppointmentRead.of(found)


@router.patch(
    "/{appointment_id}",
    openapi_extra=fails_with(
        "appointment_conflict",
        "appointment_not_found",
        "contact_not_found",
        "invalid_appointment_times",
        "property_not_found",
        "unknown_assignee",
    ),
)
async def update_appointment(
    appointment_id: UUID, body: AppointmentUpdate, uow: Uow, state: State, caller: Writer
) -> AppointmentRead:
    """Change an appointment: move it, assign it to a user, cancel it, or store how it ended.

    When the status becomes `booked` or `held` (the appointment took place), an outcome is recorded.
    If the appointment already has this outcome, and it was not reversed, no other is recorded. The
    insight figures count outcomes.
    """
    async with uow:
        now = await uow.database_now()
        await booking.change_appointment(
            uow,
            body,
            appointment_id=appointment_id,
            recorder=recorder_of(caller, state),
            now=now,
        )
        await service.request_sync(uow, now=now)
        found = await listing.read_appointment(uow, appointment_id=appointment_id)
    return AppointmentRead.of(found)
