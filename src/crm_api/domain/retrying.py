"""How a read of somebody else's service is tried again; whatever acts is never repeated here."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from crm_api.domain.errors import TransientError

LONGEST_RETRY_AFTER_SECONDS = 30.0
"""A read does not wait longer than this for a service that asks for it; it gives up instead."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a read is tried, and how long it waits on average before it is tried again."""

    tries: int
    waits: tuple[float, ...]


THROTTLED = RetryPolicy(tries=5, waits=(0.5, 1.0, 2.0, 4.0))
"""It answers, and says that we are too fast: patience pays."""
AWAY = RetryPolicy(tries=3, waits=(0.5, 2.0))
"""5xx, no answer, or one without sense: a hiccup passes, and of more the caller is to know."""


class BusyError(TransientError):
    """Somebody else's service is away, overloaded or limits us; another try may help.

    Attributes:
        retry_after_seconds: When the service said when; else None.
        is_answer: It answered, if only that we ask too often: it is not down.
    """

    code = "service_busy"
    title = "Service is not available"

    def __init__(
        self,
        detail: str,
        *,
        retry_after_seconds: float | None = None,
        is_answer: bool = False,
        **extras: Any,  # noqa: ANN401 - JSON members
    ) -> None:
        super().__init__(detail, **extras)
        self.retry_after_seconds = retry_after_seconds
        self.is_answer = is_answer


def retrying(busy: type[BusyError], *, sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    """Return what calls a function again while it raises ``busy``, and at last raises it itself.

    Args:
        busy: Which errors; all else is raised at once.
        sleep: Waits between the tries.
    """
    return AsyncRetrying(
        retry=retry_if_exception_type(busy),
        stop=_is_enough,
        wait=_wait,
        sleep=sleep,
        reraise=True,
    )


def _failure(state: RetryCallState) -> BusyError:
    return cast("BusyError", state.outcome.exception() if state.outcome is not None else None)


def _policy(error: BusyError) -> RetryPolicy:
    return THROTTLED if error.is_answer else AWAY


def _is_enough(state: RetryCallState) -> bool:
    error = _failure(state)
    is_long = (error.retry_after_seconds or 0.0) > LONGEST_RETRY_AFTER_SECONDS
    return is_long or state.attempt_number >= _policy(error).tries


def _wait(state: RetryCallState) -> float:
    error = _failure(state)
    waits = _policy(error).waits
    mean = waits[min(state.attempt_number, len(waits)) - 1]
    # Jitter keeps several workers from coming back at the same instant.
    jittered = mean * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
    return max(jittered, error.retry_after_seconds or 0.0)
