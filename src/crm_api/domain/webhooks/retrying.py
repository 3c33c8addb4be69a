"""What becomes of an event that could not be applied: tried again, later each time, then dead."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import SystemRandom

from sqlalchemy.exc import DBAPIError

from crm_api.domain.errors import CrmError
from crm_api.domain.webhooks.models import WebhookEventStatus
from crm_api.domain.webhooks.queries import ClaimedEvent, Outcome

CONFLICT_RETRY = timedelta(seconds=2)
COLLISIONS = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: another transaction was in the way."""
LONGEST_ERROR = 500

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random
"""From 0 to 1; the whole wait is random, so that retries spread."""


def done(claimed: ClaimedEvent, status: WebhookEventStatus, *, now: datetime) -> Outcome:
    """Let nothing more happen to an event."""
    return Outcome(
        id=claimed.id,
        status=status,
        attempts=claimed.attempts + 1,
        next_attempt_at=now,
        last_error=None,
        error_code=None,
        processed_at=now,
    )


def collided(claimed: ClaimedEvent, *, now: datetime, jitter: Jitter) -> Outcome:
    """Let an event come again at once: that another transaction was in the way is no try."""
    return Outcome(
        id=claimed.id,
        status=WebhookEventStatus.PENDING,
        attempts=claimed.attempts,
        next_attempt_at=now + CONFLICT_RETRY * jitter(),
        last_error="Another transaction was in the way; it will be tried again at once.",
        error_code=None,
        processed_at=None,
    )


def failed(
    claimed: ClaimedEvent,
    error: Exception,
    *,
    means: Sequence[timedelta],
    now: datetime,
    jitter: Jitter,
) -> Outcome:
    """Let an event come again later; after the last of the waits it is dead.

    Args:
        means: How long to wait on average after the first, second … failure.
    """
    attempts = claimed.attempts + 1
    is_last = attempts > len(means)
    wait = timedelta(0) if is_last else 2 * means[attempts - 1] * jitter()
    code, sentence = describe(error)
    return Outcome(
        id=claimed.id,
        status=WebhookEventStatus.DEAD if is_last else WebhookEventStatus.FAILED,
        attempts=attempts,
        next_attempt_at=now + wait,
        last_error=sentence[:LONGEST_ERROR],
        error_code=code,
        processed_at=None,
    )


def describe(error: Exception) -> tuple[str, str]:
    """Return the class by which errors are grouped, and a sentence about this one."""
    if isinstance(error, CrmError):
        return error.code, error.detail
    if isinstance(error, DBAPIError):
        state = sql_state(error)
        # The driver's own first line: the whole message would repeat the values.
        return f"database_{state}", f"The database refused it ({state}): {_first_line(error.orig)}"
    name = type(error).__name__
    return name, f"{name}: {_first_line(error)}"


def sql_state(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0][:LONGEST_ERROR]
