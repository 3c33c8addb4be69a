"""The plan of the kills: which process or server is killed, how, and at which step.

The same seed gives the same plan.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.crash.holders import InFlight

ANYWHERE = "any moment"
"""Step of a kill that does not wait until the process reaches a named step."""


class Kind(StrEnum):
    """Ways to make a process or a server fail."""

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
"""Steps of a worker, that is, named places in its code. The number of a step says how many times,
at most, the worker reaches the step until it is killed there."""

AFTER_TERM = "release.open"
"""A worker reaches this step only after SIGTERM."""

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
"""Steps at which a worker is stopped. At the last three steps, the worker has database locks, so
the other workers wait too."""

SERVER_KINDS: Mapping[Kind, int] = {
    Kind.BACKEND_TERMINATED: 5,
    Kind.BACKENDS_TERMINATED: 2,
    Kind.BACKEND_KILLED: 2,
    Kind.POSTGRES_RESTARTED: 2,
    Kind.REDIS_EMPTIED: 3,
    Kind.REDIS_KILLED: 2,
}
"""Ways to make a server fail, with their weights. A server may fail at any moment, or while a
worker or the API is stopped at a step."""

WORKER_KINDS: Mapping[Kind, int] = {
    Kind.WORKER_KILLED: 40,
    Kind.WORKER_TERMINATED: 8,
    Kind.WORKER_STOPPED: 8,
    **SERVER_KINDS,
}
API_KILL_WEIGHTS: Mapping[Kind, int] = {
    Kind.API_KILLED: 12,
    Kind.API_TERMINATED: 4,
    Kind.BACKEND_TERMINATED: 2,
}


@dataclass
class Kill:
    """One kill: its plan and, after it has happened, the attempts that were in flight.

    Attributes:
        arrival: How many times the process reaches the step until it is killed there.
        after_seconds: For a kill at any moment: the age of the process, or the wait before a server
            is killed, in seconds.
        held: The attempts in flight of the running workers at that moment.
    """

    kind: Kind
    step: str = ANYWHERE
    arrival: int = 1
    after_seconds: float = 0.0
    held: InFlight = field(default_factory=InFlight)

    @property
    def counts(self) -> bool:
        """True if attempts were in flight during the kill. Only such a kill counts."""
        return self.held.attempts > 0


class Plan:
    """Draws the kills of one target: a worker, the API or the servers.

    Every step is drawn equally often.
    """

    def __init__(self, seed: int, target: str, *, kinds: Sequence[Kind] | None = None) -> None:
        # Each target has its own random generator. The targets run in parallel, so a seed cannot
        # fix the order in which the targets draw their kills.
        self._chance = random.Random(f"{seed} {target}")  # noqa: S311 - repeatable, no secret
        self._kinds = {
            kind: weight for kind, weight in WORKER_KINDS.items() if kinds is None or kind in kinds
        }
        self._worker_steps = self._deck((*WORKER_STEPS, ANYWHERE))
        self._stopped_at = self._deck(STOPPED_AT)
        self._api_steps = self._deck((*API_STEPS, ANYWHERE))

    def next_worker_kill(self) -> Kill:
        kind = self._pick(self._kinds)
        step = next(self._stopped_at if kind is Kind.WORKER_STOPPED else self._worker_steps)
        return Kill(
            kind=kind,
            step=step,
            arrival=self._chance.randint(1, WORKER_STEPS.get(step, 1)),
            after_seconds=self._chance.uniform(0.3, 3.0),
        )

    def next_survivor_kill(self) -> Kill:
        """Draw the kill of a process that has survived a stop or the kill of a server."""
        return Kill(kind=Kind.WORKER_KILLED, after_seconds=self._chance.uniform(0.5, 4.0))

    def next_api_kill(self) -> Kill:
        step = next(self._api_steps)
        return Kill(
            kind=self._pick(API_KILL_WEIGHTS),
            step=step,
            arrival=self._chance.randint(1, API_STEPS.get(step, 1)),
            after_seconds=self._chance.uniform(2.0, 6.0),
        )

    def next_server_kill(self) -> Kill:
        return Kill(kind=self._pick(SERVER_KINDS), after_seconds=self._chance.uniform(1.5, 6.0))

    def fraction(self) -> float:
        """Draw a number from 0 to 1 that chooses one of the processes (backends) of PostgreSQL."""
        return self._chance.random()

    def _pick(self, weights: Mapping[Kind, int]) -> Kind:
        return self._chance.choices(list(weights), weights=list(weights.values()))[0]

    def _deck(self, steps: Sequence[str]) -> Iterator[str]:
        while True:
            yield from self._chance.sample(steps, len(steps))
