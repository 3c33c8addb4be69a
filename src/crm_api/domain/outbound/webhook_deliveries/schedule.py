"""When a delivery is retried, and when it is given up.

Source: Standard Webhooks specification, "Deliverability and reliability", read 2026-11-26: at
once, then after 5 seconds, 5 minutes, 30 minutes, 2, 5, 10, 14, 20 and 24 hours, with jitter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from random import SystemRandom

from crm_api.domain.kit.retry_after import read_retry_after
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus

WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""Wait after the first failure, the second …"""
JITTER = 0.2
"""A wait is up to this fraction longer, so that joint failures are not retried together."""
LONGEST_HOLD = timedelta(hours=24)
"""Longest pause that an endpoint can ask for with Retry-After."""
ASKS_TO_WAIT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random


@dataclass(frozen=True, kw_only=True)
class EndpointAnswer:
    """Result of a try.

    Attributes:
        status: HTTP status of the answer; None when there was none.
        error_code: Stable, such as ``http_500`` or ``timeout``; None on success.
        detail: A sentence for a person.
        body: Beginning of the answer.
        retry_after: The pause that the answer asks for.
    """

    status: int | None = None
    error_code: str | None = None
    detail: str | None = None
    body: str | None = None
    retry_after: timedelta | None = None
    duration_ms: int = 0

    @property
    def has_arrived(self) -> bool:
        """True after an answer of 2xx."""
        return self.error_code is None

    @property
    def is_gone(self) -> bool:
        """True when the endpoint wants no more events."""
        return self.status == HTTPStatus.GONE

    @property
    def hold(self) -> timedelta | None:
        """Pause that the whole endpoint asks for; None when it asks for none."""
        if self.retry_after is None or self.status not in ASKS_TO_WAIT:
            return None
        return min(self.retry_after, LONGEST_HOLD)


@dataclass(frozen=True, kw_only=True)
class NextState:
    """State of a delivery after a try; ``next_attempt_at`` is used while it is pending."""

    status: DeliveryStatus
    next_attempt_at: datetime


def next_state_of(
    reply: EndpointAnswer, *, failures: int, now: datetime, jitter: Jitter
) -> NextState:
    """Return the next state of a delivery.

    Args:
        failures: Number of failures, this one included.
        jitter: Returns numbers from 0 to 1.
    """
    if reply.has_arrived:
        return NextState(status=DeliveryStatus.DELIVERED, next_attempt_at=now)
    if reply.is_gone or failures > len(WAITS):
        return NextState(status=DeliveryStatus.FAILED, next_attempt_at=now)
    wait = WAITS[failures - 1] * (1 + JITTER * jitter())
    return NextState(
        status=DeliveryStatus.PENDING,
        next_attempt_at=now + max(wait, reply.hold or timedelta(0)),
    )


def requested_pause(header: str | None, *, now: datetime) -> timedelta | None:
    """Return how long a ``Retry-After`` pauses the endpoint; None when it asks for none."""
    wait = read_retry_after(header, now=now, longest=LONGEST_HOLD.total_seconds())
    return None if wait is None else timedelta(seconds=wait.seconds)
