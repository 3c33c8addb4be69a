"""Errors of appointments."""

from uuid import UUID

from crm_api.domain.kit.errors import ConflictError, Example, InvalidError, NotFoundError
from crm_api.domain.kit.examples import example_id

OVERLAPS = (
    "The assignee has another appointment at this time. Choose another time or another assignee. "
    "To book the appointment anyway, send `allow_conflict: true`."
)


class AppointmentNotFoundError(NotFoundError):
    """No appointment has this id."""

    code = "appointment_not_found"
    title = "Appointment not found"
    detail = "There is no appointment with this id. GET /v1/appointments lists all appointments."


class AppointmentConflictError(ConflictError):
    """The assignee has another appointment at this time.

    ``appointment_id`` is the id of that other appointment.
    """

    code = "appointment_conflict"
    title = "Appointment overlaps another"
    example = Example(UUID(example_id("appointment")))

    def __init__(self, appointment_id: UUID) -> None:
        super().__init__(OVERLAPS, appointment_id=str(appointment_id))


class AppointmentTimesError(InvalidError):
    """The end of the appointment is not after its start, or is more than 31 days after it."""

    code = "invalid_appointment_times"
    title = "Times of an appointment not accepted"
    pointer = "/ends_at"
    detail = (
        "`ends_at` must be later than `starts_at`, and at most 31 days after it. Correct one "
        "of them."
    )


class FreeTimesRangeError(InvalidError):
    """The end of the period is not after its beginning, or the period is longer than 62 days."""

    code = "invalid_period"
    title = "Period not accepted"
    pointer = "/to"
    detail = (
        "`to` must be later than `from`, and at most 62 days after it. Correct one of them. If "
        "you leave out both, you get the free times of the next 14 days."
    )


class WorkingHoursError(InvalidError):
    """The end of the working day is not later than its beginning."""

    code = "invalid_working_hours"
    title = "Working hours not accepted"
    pointer = "/day_end"
    detail = "`day_end` must be later than `day_start`. Correct one of them."
