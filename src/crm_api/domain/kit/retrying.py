"""Repeat failed requests to outside services.

A request that only reads data is repeated after every temporary failure. A request that changes
data is repeated only after a response with status 429. This status means that the service has not
changed anything.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from crm_api.domain.kit.errors import TransientError

LONGEST_RETRY_AFTER_SECONDS = 30.0
"""The longest wait that is accepted from another service. If the service asks for a longer wait,
the request fails immediately, without a retry."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a request is tried in total, and the mean wait in seconds before each retry."""

    tries: int
    waits: tuple[float, ...]


THROTTLED = RetryPolicy(tries=5, waits=(0.5, 1.0, 2.0, 4.0))
"""The retry policy after a response with status 429 (too many requests). The waits become longer,
because the service accepts requests again after some time."""
UNAVAILABLE = RetryPolicy(tries=3, waits=(0.5, 2.0))
"""The retry policy after a response with status 5xx, no response, or an unreadable response. There
are only a few retries after short waits."""


class BusyError(TransientError):
    """An outside service is down, overloaded or limits our requests; a later request may succeed.

    Attributes:
        retry_after_seconds: The wait that the service asks for, in seconds, cut to a maximum.
        retry_after_asked: The wait that the service asks for, in seconds, if it is above the
            maximum.
        is_throttled: True only after a response with status 429 (too many requests).
    """

    code = "service_busy"
    title = "Service is not available"
    is_abstract = True

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after_seconds: float | None = None,
        retry_after_asked: float | None = None,
        is_throttled: bool = False,
        **extras: Any,  # noqa: ANN401 - JSON members
    ) -> None:
        super().__init__(detail, **extras)
        self.retry_after_seconds = retry_after_seconds
        self.retry_after_asked = retry_after_asked
        self.is_throttled = is_throttled


def retrying(
    busy: type[BusyError],
    *,
    sleep: Callable[[float], Awaitable[None]],
    only_throttled: bool = False,
) -> AsyncRetrying:
    """Return a ``tenacity`` object that repeats a request to an outside service after a failure.

    ``THROTTLED`` defines the number of tries and the waits after status 429. ``UNAVAILABLE``
    defines the number of tries and the waits after any other failure. If the last try fails, its
    error is raised. If the service asks for a wait above ``LONGEST_RETRY_AFTER_SECONDS``, the
    request is not repeated.

    Args:
        busy: The class of the errors after which the request is repeated.
        only_throttled: Repeat only after status 429. Set this for requests that change data: after
            another failure, the data may already be changed.
    """

    def may_pass(error: BaseException) -> bool:
        return isinstance(error, busy) and (error.is_throttled or not only_throttled)

    return AsyncRetrying(
        retry=retry_if_exception(may_pass),
        stop=_is_enough,
        wait=_wait,
        sleep=sleep,
        reraise=True,
    )


def _failure(state: RetryCallState) -> BusyError:
    return cast("BusyError", state.outcome.exception() if state.outcome is not None else None)


def _policy(error: BusyError) -> RetryPolicy:
    return THROTTLED if error.is_throttled else UNAVAILABLE


def _is_enough(state: RetryCallState) -> bool:
    error = _failure(state)
    is_long = (error.retry_after_seconds or 0.0) > LONGEST_RETRY_AFTER_SECONDS
    return is_long or state.attempt_number >= _policy(error).tries


def _wait(state: RetryCallState) -> float:
    error = _failure(state)
    waits = _policy(error).waits
    mean = waits[min(state.attempt_number, len(waits)) - 1]
    # The wait is random, so that several workers do not retry at the same instant.
    jittered = mean * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
    return max(jittered, error.retry_after_seconds or 0.0)
