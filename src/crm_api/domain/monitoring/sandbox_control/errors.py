"""Errors of requests that control the sandbox."""

from datetime import UTC, datetime

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    InvalidError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.kit.schemas import format_instant


class SandboxOnlyError(NotFoundError):
    """The service has a real API key of the provider, so there is no sandbox to control."""

    code = "sandbox_only"
    title = "Sandbox not in use"
    detail = (
        "This service has a real OpenPhone API key, so there is no sandbox to control. To use "
        "the sandbox, start a service without CRM_OPENPHONE_API_KEY."
    )


class SandboxAwayError(TransientError):
    """The sandbox process does not answer."""

    code = "sandbox_away"
    title = "Sandbox unreachable"
    detail = (
        "The sandbox does not answer. `crm-api up` starts it again by itself, so try again in "
        "a few seconds. Without `crm-api up`, start `crm-api sandbox`."
    )


class UnknownSandboxLineError(InvalidError):
    """The sandbox has no line with the given phone number."""

    code = "unknown_sandbox_line"
    title = "Line not in the sandbox"
    pointer = "/line"
    detail = (
        "The sandbox has no line with this phone number. GET /v1/lines lists the lines. "
        "If you leave `line` out, the line of the person's newest message or call is used."
    )


class ClockMovesError(ConflictError):
    """The sandbox clock is already moving, so another move cannot begin."""

    code = "clock_moves"
    title = "Sandbox clock is moving"
    example = Example(datetime(2026, 12, 14, 15, tzinfo=UTC))

    def __init__(self, to: datetime) -> None:
        super().__init__(
            f"The sandbox clock is already moving to {format_instant(to)}. Try again when this "
            "move has ended: GET /v1/sandbox/clock?wait=60 waits for the end, up to 60 seconds.",
            to=format_instant(to),
        )


class ClockGoesForwardError(InvalidError):
    """The requested time is not later than the current time of the sandbox."""

    code = "clock_goes_forward"
    title = "New time not in the future"
    example = Example(datetime(2026, 12, 14, 15, tzinfo=UTC))

    def __init__(self, now: datetime) -> None:
        super().__init__(
            f"The sandbox clock shows {format_instant(now)}. Choose a later time, because the "
            "clock cannot go back. To start again, use another data directory.",
            now=format_instant(now),
        )


class ClockNotFollowedError(TransientError):
    """A process still uses the old sandbox time, so the move of the sandbox clock must wait."""

    code = "clock_not_followed"
    title = "Move of the clock delayed"
    detail = (
        "The move of the sandbox clock is paused, because a process of this service has not "
        "finished its work. The move continues automatically."
    )


class ClockTooFarError(InvalidError):
    """The requested time is more than 366 days ahead of the sandbox clock."""

    code = "clock_too_far"
    title = "New time too far ahead"
    detail = (
        "One move of the sandbox clock can be at most 366 days. Make several moves, one after "
        "the other."
    )
