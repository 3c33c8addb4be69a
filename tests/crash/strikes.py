"""What is killed, how and where: a plan that a seed repeats."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.crash.holders import InFlight

ANYWHERE = "any moment"
"""Step of a kill from outside, which hits wherever the process happens to be."""


class Kind(StrEnum):
    """Ways to make something fail."""

    WORKER_KILLED = "worker SIGKILL"
    WORKER_TERMINATED = "worker SIGTERM"
    WORKER_STOPPED = "worker SIGSTOP past lease and grace"
    API_KILLED = "API SIGKILL"
    API_TERMINATED = "API SIGTERM"
    BACKEND_TERMINATED = "PostgreSQL backend terminated"
    BACKENDS_TERMINATED = "PostgreSQL backends terminated, all"
    BACKEND_KILLED = "PostgreSQL backend SIGKILL, crash recovery"
    POSTGRES_RESTARTED = "PostgreSQL restarted"
    REDIS_EMPTIED = "Redis emptied"
    REDIS_KILLED = "Redis SIGKILL and restart"


API_KINDS = frozenset({Kind.API_KILLED, Kind.API_TERMINATED})

WORKER_STEPS: Mapping[str, int] = {
    "claim.locked": 2,
    "claim.open": 2,
    "claim.committed": 2,
    "gate.open": 3,
    "gate.committed": 3,
    "call.before_body": 16,
    "call.body_out": 16,
    "call.answered": 16,
    "record.open": 4,
    "record.committed": 4,
    "settle.leases_open": 1,
    "settle.looked_up": 3,
    "settle.open": 3,
    "settle.committed": 3,
    "webhook.open": 4,
    "webhook.committed": 4,
    "audience.open": 1,
    "release.open": 1,
}
"""Each step of a worker, and at which of its first arrivals there the worker may be struck."""

AFTER_TERM = "release.open"
"""A worker reaches this step only when it was asked to end."""

API_STEPS: Mapping[str, int] = {"intake.before": 20, "intake.committed": 20}

STOPPED_AT = (
    "claim.committed",
    "gate.committed",
    "call.before_body",
    "call.body_out",
    "call.answered",
    "record.committed",
    "settle.looked_up",
    "settle.committed",
    ANYWHERE,
    "claim.locked",
    "gate.open",
    "record.open",
)
"""Where a worker is stopped. In the last three it holds locks, so the others wait too."""

SERVER_KINDS: Mapping[Kind, int] = {
    Kind.BACKEND_TERMINATED: 5,
    Kind.BACKENDS_TERMINATED: 2,
    Kind.BACKEND_KILLED: 2,
    Kind.POSTGRES_RESTARTED: 2,
    Kind.REDIS_EMPTIED: 3,
    Kind.REDIS_KILLED: 2,
}
"""Each with its weight; also while a worker or the API is stopped at a step."""

WORKER_KINDS: Mapping[Kind, int] = {
    Kind.WORKER_KILLED: 40,
    Kind.WORKER_TERMINATED: 8,
    Kind.WORKER_STOPPED: 8,
    **SERVER_KINDS,
}
API_STRIKES: Mapping[Kind, int] = {
    Kind.API_KILLED: 12,
    Kind.API_TERMINATED: 4,
    Kind.BACKEND_TERMINATED: 2,
}


@dataclass
class Strike:
    """One kill: planned, and once struck with what was in flight.

    Attributes:
        arrival: At which arrival of the process at the step.
        after_seconds: Age of the process, for a kill at any moment.
        held: What living workers held at that moment.
    """

    kind: Kind
    step: str = ANYWHERE
    arrival: int = 1
    after_seconds: float = 0.0
    held: InFlight = field(default_factory=InFlight)

    @property
    def counts(self) -> bool:
        """True if something was in flight; only then a kill counts."""
        return self.held.attempts > 0


class Plan:
    """Draws strikes for one target; every step comes up equally often."""

    def __init__(self, seed: int, target: str, *, kinds: Sequence[Kind] | None = None) -> None:
        # One per target: they are struck at the same time, in an order that no seed could fix.
        self._chance = random.Random(f"{seed} {target}")  # noqa: S311 - repeatable, no secret
        self._kinds = {
            kind: weight for kind, weight in WORKER_KINDS.items() if kinds is None or kind in kinds
        }
        self._worker_steps = self._deck((*WORKER_STEPS, ANYWHERE))
        self._stopped_at = self._deck(STOPPED_AT)
        self._api_steps = self._deck((*API_STEPS, ANYWHERE))

    def against_worker(self) -> Strike:
        kind = self._pick(self._kinds)
        step = next(self._stopped_at if kind is Kind.WORKER_STOPPED else self._worker_steps)
        return Strike(
            kind=kind,
            step=step,
            arrival=self._chance.randint(1, WORKER_STEPS.get(step, 1)),
            after_seconds=self._chance.uniform(0.3, 3.0),
        )

    def against_survivor(self) -> Strike:
        """Draw the end of a worker that was stopped, or whose servers were struck."""
        return Strike(kind=Kind.WORKER_KILLED, after_seconds=self._chance.uniform(0.5, 4.0))

    def against_api(self) -> Strike:
        step = next(self._api_steps)
        return Strike(
            kind=self._pick(API_STRIKES),
            step=step,
            arrival=self._chance.randint(1, API_STEPS.get(step, 1)),
            after_seconds=self._chance.uniform(2.0, 6.0),
        )

    def against_server(self) -> Strike:
        return Strike(kind=self._pick(SERVER_KINDS), after_seconds=self._chance.uniform(1.5, 6.0))

    def fraction(self) -> float:
        """Draw a number below 1, for a choice among what is there."""
        return self._chance.random()

    def _pick(self, weights: Mapping[Kind, int]) -> Kind:
        return self._chance.choices(list(weights), weights=list(weights.values()))[0]

    def _deck(self, steps: Sequence[str]) -> Iterator[str]:
        while True:
            yield from self._chance.sample(steps, len(steps))
