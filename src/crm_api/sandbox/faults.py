"""Faults on request: what shall go wrong, for whom, how often."""

import random
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What happens to a request; *after* means that the text was accepted all the same."""

    THROTTLED = "429"
    ERROR_BEFORE = "500_before"
    ERROR_AFTER = "500_after"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    HANG = "hang"
    HANG_AFTER = "hang_after"
    SLOW = "slow"
    """Accepted at once, answered late."""
    NO_ID = "202_without_id"
    NO_CREDITS = "402"
    EXPIRED = "402_expired"
    UNAUTHORIZED = "401"
    DAILY_CAP = "403_cap"
    NOT_NUMBER_USER = "403_not_user"
    INTERNATIONAL = "403_international"
    NOT_FOUND = "404"
    INVALID = "400"
    NOT_APPROVED = "400_a2p"
    WEBHOOK_LOST = "webhook_lost"
    """The event is never told; a list of messages still shows what happened."""
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_TWICE = "webhook_twice"


class FaultScope(StrEnum):
    """Which requests a fault is for."""

    SEND = "send"
    READ = "read"
    WEBHOOK = "webhook"
    """Events, by the number of the person."""


@dataclass
class Fault:
    """One standing order; ends when ``count`` is used up, else lasts until cleared.

    Attributes:
        delay: Seconds by which a late event is late.
    """

    kind: FaultKind
    on: FaultScope = FaultScope.SEND
    number: str | None = None
    count: int | None = None
    probability: float | None = None
    retry_after: float | None = None
    delay: float = 60.0


class Faults:
    """The orders, oldest first; the random ones repeat with the same seed."""

    def __init__(self, seed: int) -> None:
        self.orders: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - repeatable tests, no secret

    def take(self, scope: FaultScope, numbers: tuple[str, ...]) -> Fault | None:
        """Return the fault for this request and use it up by one; None lets it pass."""
        for fault in self.orders:
            if fault.on != scope or (fault.number is not None and fault.number not in numbers):
                continue
            if fault.probability is not None and self._random.random() >= fault.probability:
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self.orders.remove(fault)
            return fault
        return None
