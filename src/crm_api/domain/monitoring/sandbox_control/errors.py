"""Errors about the control of the sandbox."""

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
    """A real API key is set: there is no sandbox to control."""

    code = "sandbox_only"
    title = "Only with the sandbox"

    def __init__(self) -> None:
        super().__init__(
            "This service has a real OpenPhone API key, so there is no sandbox to control. "
            "Start one without CRM_OPENPHONE_API_KEY."
        )


class SandboxAwayError(TransientError):
    """The sandbox process does not answer."""

    code = "sandbox_away"
    title = "The sandbox does not answer"

    def __init__(self) -> None:
        super().__init__(
            "The sandbox does not answer. Where `crm-api up` runs, it is started again by itself: "
            "try again in a few seconds. Elsewhere start `crm-api sandbox`."
        )


class ClockMovesError(ConflictError):
    """Time is already being moved."""

    code = "clock_moves"
    title = "Time is being moved"
    example = Example(datetime(2026, 12, 14, 15, tzinfo=UTC))

    def __init__(self, to: datetime) -> None:
        super().__init__(
            f"Time is being moved to {format_instant(to)}; wait for the end of the move: "
            "GET /v1/sandbox/clock?wait=60 answers then.",
            to=format_instant(to),
        )


class ClockGoesForwardError(InvalidError):
    """Time cannot go back or stay the same."""

    code = "clock_goes_forward"
    title = "Time only goes forward"
    example = Example(datetime(2026, 12, 14, 15, tzinfo=UTC))

    def __init__(self, now: datetime) -> None:
        super().__init__(
            f"It is {format_instant(now)} in the sandbox; give a later instant. Time cannot go "
            "back: to start again, use another data directory.",
            now=format_instant(now),
        )


class ClockNotFollowedError(TransientError):
    """A process does not follow the clock, or does not finish its work."""

    code = "clock_not_followed"
    title = "The clock is not followed"

    def __init__(self) -> None:
        super().__init__(
            "A process of this service does not finish its work, so time stopped; the move is "
            "tried again."
        )


class ClockTooFarError(InvalidError):
    """One move is at most a year."""

    code = "clock_too_far"
    title = "Too far"

    def __init__(self) -> None:
        super().__init__("Time moves at most a year at once; move again from there.")
