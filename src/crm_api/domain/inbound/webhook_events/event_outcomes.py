"""Decide the state of an event after an attempt to apply it: applied, retried later, or dead.

A dead event is no longer retried automatically.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from crm_api.domain.inbound.webhook_events.models import WebhookEventStatus
from crm_api.domain.kit.errors import CrmError

CONFLICT_RETRY = timedelta(seconds=2)
COLLISIONS = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATE codes of a conflict with another transaction: serialization failure, deadlock, lock not
available."""
LONGEST_ERROR = 500

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random
"""Returns a random number from 0 to 1. The wait before a retry is the longest wait multiplied by
this number. So many events are not all retried at the same time."""


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event whose row is locked by this transaction."""

    id: UUID
    type: str
    attempts: int
    received_at: datetime
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """The new state of an event after one try to apply it."""

    id: UUID
    status: WebhookEventStatus
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    error_code: str | None
    processed_at: datetime | None


def applied_outcome(
    claimed: ClaimedEvent, status: WebhookEventStatus, *, now: datetime
) -> EventOutcome:
    """Return the final state of an event that was applied or ignored.

    ``status`` says which of the two happened.
    """
    return EventOutcome(
        id=claimed.id,
        status=status,
        attempts=claimed.attempts + 1,
        next_attempt_at=now,
        last_error=None,
        error_code=None,
        processed_at=now,
    )


def collided_outcome(claimed: ClaimedEvent, *, now: datetime, jitter: Jitter) -> EventOutcome:
    """Return the outcome of an event that conflicted with another transaction.

    The event will be applied again within 2 seconds. Its number of attempts does not change.
    """
    return EventOutcome(
        id=claimed.id,
        status=WebhookEventStatus.PENDING,
        attempts=claimed.attempts,
        next_attempt_at=now + CONFLICT_RETRY * jitter(),
        last_error="The event conflicted with another transaction. It is retried within 2 seconds.",
        error_code=None,
        processed_at=None,
    )


def failed_outcome(
    claimed: ClaimedEvent,
    error: Exception,
    *,
    means: Sequence[timedelta],
    now: datetime,
    jitter: Jitter,
) -> EventOutcome:
    """Return the state of an event after a failed attempt to apply it.

    After the last retry, the event is dead: it is no longer retried automatically.

    Args:
        means: The mean wait before each retry. There are as many retries as values.
    """
    attempts = claimed.attempts + 1
    is_last = attempts > len(means)
    wait = timedelta(0) if is_last else 2 * means[attempts - 1] * jitter()
    code, sentence = describe_error(error)
    return EventOutcome(
        id=claimed.id,
        status=WebhookEventStatus.DEAD if is_last else WebhookEventStatus.FAILED,
        attempts=attempts,
        next_attempt_at=now + wait,
        last_error=sentence[:LONGEST_ERROR],
        error_code=code,
        processed_at=None,
    )


def describe_error(error: Exception) -> tuple[str, str]:
    """Return a code that groups similar errors, and one sentence about this error."""
    if isinstance(error, CrmError):
        return error.code, error.detail
    if isinstance(error, DBAPIError):
        state = sql_state(error)
        # Use only the first line of the driver's message, because the whole message would contain
        # the values.
        sentence = f"The database refused the event (SQLSTATE {state}): {_first_line(error.orig)}"
        return f"database_{state}", sentence
    name = type(error).__name__
    return name, f"{name}: {_first_line(error)}"


def sql_state(error: DBAPIError) -> str | None:
    """Return the SQLSTATE code of a database error; None if the error has no code."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0][:LONGEST_ERROR]
