"""Faults that a test or developer adds: what goes wrong, for which phone numbers, and how often."""

import random
from dataclasses import dataclass
from enum import StrEnum

from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind


class FaultScope(StrEnum):
    """What a fault applies to: requests to send a message, requests that read data, or webhooks."""

    SEND = "send"
    READ = "read"
    WEBHOOK = "webhook"
    """The fault applies to deliveries of events. ``Fault.number`` is then the phone number of the
    person who sends or gets the message."""


@dataclass
class Fault:
    """One active fault.

    Attributes:
        on: What the fault applies to.
        number: The fault applies only to requests about this phone number; None for all requests.
        count: How many more times the fault happens. If None, the fault happens until it is
            deleted.
        probability: Probability that the fault happens, from 0 to 1. If None, it always happens.
        retry_after: Seconds in the header ``Retry-After``; None for no header.
        delay: Seconds by which an event is delayed, if ``kind`` is ``WEBHOOK_LATE``.
    """

    kind: FaultKind
    on: FaultScope = FaultScope.SEND
    number: str | None = None
    count: int | None = None
    probability: float | None = None
    retry_after: float | None = None
    delay: float = 60.0

    @property
    def is_after(self) -> bool:
        """True if the fault happens after the sandbox has accepted the message.

        The message is then stored, and only the response to the request goes wrong. Such a fault
        has no effect on requests that only read data.
        """
        return self.kind in _AFTER


_AFTER = frozenset(
    (
        FaultKind.ERROR_AFTER,
        FaultKind.RESET_AFTER,
        FaultKind.HANG_AFTER,
        FaultKind.SLOW,
        FaultKind.NO_ID,
    )
)


class Faults:
    """The active faults, oldest first. With the same seed, the random decisions are the same."""

    def __init__(self, seed: int) -> None:
        self.active: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - repeatable tests, no secret

    def take(self, scope: FaultScope, numbers: tuple[str, ...]) -> Fault | None:
        """Return the first fault that applies to a request or to the delivery of an event.

        If the fault has a ``count``, the count is reduced by 1. At 0, the fault is deleted.

        Returns:
            None if no fault applies.
        """
        for fault in self.active:
            if fault.on != scope or (fault.number is not None and fault.number not in numbers):
                continue
            if fault.probability is not None and self._random.random() >= fault.probability:
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self.active.remove(fault)
            return fault
        return None
