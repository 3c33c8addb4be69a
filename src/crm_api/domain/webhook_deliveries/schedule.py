"""When a delivery is tried again, and when it is given up.

Source: Standard Webhooks specification, "Deliverability and reliability", read 2026-11-26: at
once, then after 5 seconds, 5 minutes, 30 minutes, 2, 5, 10, 14, 20 and 24 hours, with jitter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from random import SystemRandom

from crm_api.domain.webhook_deliveries.models import DeliveryStatus

WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""After the first failure, the second …"""
JITTER = 0.2
"""A wait is up to so much longer, so that what failed together does not come back together."""
LONGEST_HOLD = timedelta(hours=24)
"""More than that an endpoint cannot ask for with Retry-After."""
ASKS_TO_WAIT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came of a try.

    Attributes:
        status: Of the answer; None when there was none.
        error_code: Stable, such as ``http_500`` or ``timeout``; None when it arrived.
        detail: A sentence for a person.
        body: The beginning of the answer.
        retry_after: As the answer asks.
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
        """True when the endpoint wants nothing any more."""
        return self.status == HTTPStatus.GONE

    @property
    def hold(self) -> timedelta | None:
        """How long the whole endpoint asks to be left alone."""
        if self.retry_after is None or self.status not in ASKS_TO_WAIT:
            return None
        return min(self.retry_after, LONGEST_HOLD)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Where a delivery stands after a try; ``next_attempt_at`` counts while it is pending."""

    status: DeliveryStatus
    next_attempt_at: datetime


def judge(reply: Reply, *, failures: int, now: datetime, jitter: Jitter) -> Verdict:
    """Say what follows on a try.

    Args:
        failures: With this one, if it failed.
        jitter: Gives numbers from 0 to 1.
    """
    if reply.has_arrived:
        return Verdict(status=DeliveryStatus.DELIVERED, next_attempt_at=now)
    if reply.is_gone or failures > len(WAITS):
        return Verdict(status=DeliveryStatus.FAILED, next_attempt_at=now)
    wait = WAITS[failures - 1] * (1 + JITTER * jitter())
    return Verdict(
        status=DeliveryStatus.PENDING,
        next_attempt_at=now + max(wait, reply.hold or timedelta(0)),
    )


def read_retry_after(text: str | None, *, now: datetime) -> timedelta | None:
    """Read the header: seconds, or a date; None when it says nothing that can be read."""
    if not text:
        return None
    try:
        if text.strip().isdecimal():
            return timedelta(seconds=min(int(text), LONGEST_HOLD.total_seconds()))
        return max(parsedate_to_datetime(text) - now, timedelta(0))
    except (ValueError, TypeError, OverflowError):
        return None
