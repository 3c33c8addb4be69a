"""Decide when a delivery is retried, and when it has finally failed.

The retries follow after 5 seconds, 5 minutes, 30 minutes, 2, 5, 10, 14, 20 and 24 hours. Each wait
begins at the last failure; a random time is added.

Source: Standard Webhooks specification, "Deliverability and reliability", read 2026-11-26.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from random import SystemRandom

from crm_api.domain.kit.backoff import read_retry_after
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus

WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""Wait after the first failure, the second failure, and so on."""
JITTER = 0.2
"""Maximum fraction by which a wait is lengthened at random. So deliveries that failed at the same
time are not retried at the same time."""
LONGEST_PAUSE = timedelta(hours=24)
"""Longest pause that an endpoint can ask for with Retry-After."""
ASKS_TO_WAIT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random


@dataclass(frozen=True, kw_only=True)
class EndpointResponse:
    """Response of an endpoint to one attempt, or the reason why there is no response.

    Attributes:
        status: The HTTP status; None if there was no response.
        error_code: A stable code, such as ``http_500`` or ``timeout``; None on success.
        detail: A sentence about the failure; None on success.
        body: The beginning of the response's body.
        retry_after: The pause in the header ``Retry-After``; None if there is none.
    """

    status: int | None = None
    error_code: str | None = None
    detail: str | None = None
    body: str | None = None
    retry_after: timedelta | None = None
    duration_ms: int = 0

    @property
    def has_arrived(self) -> bool:
        """True if the status of the response is 200 to 299."""
        return self.error_code is None

    @property
    def is_gone(self) -> bool:
        """True if the response has status 410 (Gone), so the endpoint wants no more events."""
        return self.status == HTTPStatus.GONE

    @property
    def pause(self) -> timedelta | None:
        """The length of the pause that the response asks for; None if it asks for no pause.

        A response with status 429 or 503 can ask for a pause in its header ``Retry-After``. The
        result is at most ``LONGEST_PAUSE``.
        """
        if self.retry_after is None or self.status not in ASKS_TO_WAIT:
            return None
        return min(self.retry_after, LONGEST_PAUSE)


@dataclass(frozen=True, kw_only=True)
class NextState:
    """The state of a delivery after an attempt.

    Attributes:
        next_attempt_at: When the next attempt is due; only used if ``status`` is ``pending``.
    """

    status: DeliveryStatus
    next_attempt_at: datetime


def next_state_of(
    response: EndpointResponse, *, failures: int, now: datetime, jitter: Jitter
) -> NextState:
    """Return the state of a delivery after an attempt.

    Args:
        response: The endpoint's response.
        failures: The number of failed attempts, including this attempt if it failed.
        jitter: Returns a random number from 0 to 1. The larger the number, the longer is the wait
            before the next attempt.
    """
    if response.has_arrived:
        return NextState(status=DeliveryStatus.DELIVERED, next_attempt_at=now)
    if response.is_gone or failures > len(WAITS):
        return NextState(status=DeliveryStatus.FAILED, next_attempt_at=now)
    wait = WAITS[failures - 1] * (1 + JITTER * jitter())
    return NextState(
        status=DeliveryStatus.PENDING,
        next_attempt_at=now + max(wait, response.pause or timedelta(0)),
    )


def requested_pause(header: str | None, *, now: datetime) -> timedelta | None:
    """Return the pause that a ``Retry-After`` header asks for, at most ``LONGEST_PAUSE``.

    Return None if the header is missing or cannot be parsed.
    """
    wait = read_retry_after(header, now=now, longest=LONGEST_PAUSE.total_seconds())
    return None if wait is None else timedelta(seconds=wait.seconds)
