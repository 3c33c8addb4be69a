"""Errors of appointments."""

from uuid import UUID

from crm_api.domain.kit.errors import ConflictError, Example, InvalidError, NotFoundError
from crm_api.domain.kit.examples import example_id

OVERLAPS = (
    "The assignee has another appointment at this time. Choose another time or assignee, or send "
    "`allow_conflict: true` to book it all the same."
)


class AppointmentNotFoundError(NotFoundError):
    """No appointment has this id."""

    code = "appointment_not_found"
    title = "Appointment not found"

    def __init__(self) -> None:
        super().__init__(
            "There is no appointment with this id. GET /v1/appointments lists all appointments."
        )


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
    """The appointment does not end after its start, or lasts more than 31 days."""

    code = "invalid_appointment_times"
    title = "Times of an appointment not accepted"
    pointer = "/ends_at"

    def __init__(self) -> None:
        super().__init__(
            "An appointment ends after its start and lasts at most 31 days. Correct `starts_at` or "
            "`ends_at`."
        )


class FreeTimesRangeError(InvalidError):
    """The period is empty, or longer than this operation allows."""

    code = "invalid_period"
    title = "Period not accepted"
    pointer = "/to"

    def __init__(self) -> None:
        super().__init__(
            "`to` must be after `from`, by at most 62 days. Correct one of them, or leave out both "
            "for the next 14 days."
        )


class WorkingHoursError(InvalidError):
    """The working day does not end after it begins."""

    code = "invalid_working_hours"
    title = "Working hours not accepted"
    pointer = "/day_end"

    def __init__(self) -> None:
        super().__init__("`day_end` must be later than `day_start`. Correct one of them.")
