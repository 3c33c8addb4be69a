"""What can go wrong while the sandbox is steered."""

from datetime import datetime

from crm_api.domain.errors import ConflictError, InvalidError, NotFoundError, TransientError
from crm_api.domain.schemas import format_instant


class SandboxOnlyError(NotFoundError):
    """A real API key is set: time, people and the provider are what they are."""

    code = "sandbox_only"
    title = "Only with the sandbox"

    def __init__(self) -> None:
        super().__init__(
            "This service has a real OpenPhone API key, so there is no sandbox to steer. "
            "Start one without CRM_OPENPHONE_API_KEY to play."
        )


class SandboxAwayError(TransientError):
    """The sandbox's process does not answer."""

    code = "sandbox_away"
    title = "The sandbox does not answer"


class ClockMovesError(ConflictError):
    """Time is being moved already."""

    code = "clock_moves"
    title = "Time is being moved"

    def __init__(self, to: datetime) -> None:
        super().__init__(
            f"Time is on its way to {format_instant(to)}; wait until it is there: "
            "GET /v1/sandbox/clock?wait=60 answers then.",
            to=format_instant(to),
        )


class ClockGoesForwardError(InvalidError):
    """Time was to go back, or to stand still."""

    code = "clock_goes_forward"
    title = "Time only goes forward"

    def __init__(self, now: datetime) -> None:
        super().__init__(
            f"It is {format_instant(now)} in the sandbox; give an instant after that. Time that "
            "was moved does not come back: begin anew with another data directory.",
            now=format_instant(now),
        )


class ClockNotFollowedError(TransientError):
    """A process does not follow the clock, or does not come to the end of its work."""

    code = "clock_not_followed"
    title = "The clock is not followed"

    def __init__(self) -> None:
        super().__init__(
            "A process of this service does not come to rest, so time stands; it is tried again."
        )


class ClockTooFarError(InvalidError):
    """One move is at most a year."""

    code = "clock_too_far"
    title = "Too far"

    def __init__(self) -> None:
        super().__init__("Time moves at most a year at once; move again from there.")
