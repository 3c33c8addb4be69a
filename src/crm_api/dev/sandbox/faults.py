"""Faults on request: what goes wrong, for which numbers, how often."""

import random
from dataclasses import dataclass
from enum import StrEnum

from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind


class FaultScope(StrEnum):
    """Requests that a fault applies to."""

    SEND = "send"
    READ = "read"
    WEBHOOK = "webhook"
    """Events, by the person's number."""


@dataclass
class Fault:
    """One active fault; ends when ``count`` is used up, else lasts until it is deleted.

    Attributes:
        delay: Seconds by which a late event is delayed.
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
        """True if a request is processed all the same; only a send is then answered otherwise."""
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
    """Active faults, oldest first; random ones repeat with the same seed."""

    def __init__(self, seed: int) -> None:
        self.active: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - repeatable tests, no secret

    def take(self, scope: FaultScope, numbers: tuple[str, ...]) -> Fault | None:
        """Return the fault for this request and decrement its count; None if there is none."""
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
