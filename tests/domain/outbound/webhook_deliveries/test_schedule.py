"""The waits between retries follow the specification; an endpoint may ask for a limited pause."""

from datetime import timedelta

import pytest
from tests.conftest import NOW

from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus
from crm_api.domain.outbound.webhook_deliveries.schedule import (
    JITTER,
    LONGEST_PAUSE,
    EndpointResponse,
    next_state_of,
    requested_pause,
)

FAILED = EndpointResponse(status=500, error_code="http_500")


def wait_after(
    failures: int, reply: EndpointResponse = FAILED, *, jitter: float = 0.0
) -> timedelta | None:
    """Return the wait from a failed delivery to its next attempt; None if no attempt follows."""
    next_state = next_state_of(reply, failures=failures, now=NOW, jitter=lambda: jitter)
    is_over = next_state.status is DeliveryStatus.FAILED
    return None if is_over else next_state.next_attempt_at - NOW


def test_waits_are_those_of_the_specification() -> None:
    waits = [wait_after(failures) for failures in range(1, 11)]

    seconds = [5, 300, 1800, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24))]
    assert waits == [*(timedelta(seconds=one) for one in seconds), None]


def test_jitter_lengthens_a_wait_by_a_fifth_at_most() -> None:
    assert wait_after(2, jitter=1.0) == timedelta(minutes=5) * (1 + JITTER)
    assert timedelta(minutes=5) * (1 + JITTER) == timedelta(minutes=6)


def test_successful_delivery_is_not_retried() -> None:
    next_state = next_state_of(
        EndpointResponse(status=204), failures=1, now=NOW, jitter=lambda: 0.5
    )

    assert next_state.status is DeliveryStatus.DELIVERED


def test_endpoint_that_is_gone_gets_no_retry() -> None:
    assert wait_after(1, EndpointResponse(status=410, error_code="http_410")) is None


@pytest.mark.parametrize(
    ("status", "asked", "wait"),
    [
        (429, timedelta(minutes=2), timedelta(minutes=2)),
        (503, timedelta(minutes=2), timedelta(minutes=2)),
        (429, timedelta(seconds=1), timedelta(seconds=5)),
        (429, timedelta(days=30), LONGEST_PAUSE),
        (500, timedelta(minutes=2), timedelta(seconds=5)),
        (429, None, timedelta(seconds=5)),
    ],
)
def test_requested_pause_is_kept_up_to_a_day(
    status: int, asked: timedelta | None, wait: timedelta
) -> None:
    reply = EndpointResponse(status=status, error_code=f"http_{status}", retry_after=asked)

    assert wait_after(1, reply) == wait


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("120", timedelta(seconds=120)),
        (" 7 ", timedelta(seconds=7)),
        ("9" * 9, LONGEST_PAUSE),
        ("9" * 400, None),
        ("Wed, 25 Nov 2026 15:02:00 GMT", timedelta(minutes=2)),
        ("Wed, 25 Nov 2020 15:02:00 GMT", None),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(
    text: str | None, read: timedelta | None
) -> None:
    assert requested_pause(text, now=NOW) == read
