"""Record the duration and status of requests, by kind of request."""

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus

UNANSWERED = 0
"""Used instead of a status if the connection ended without a response."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of the requests of one kind. All times are in seconds."""

    count: int
    failed: int
    p50: float
    p95: float
    p99: float
    longest: float


@dataclass
class Timings:
    """Collects the requests of a run.

    Attributes:
        refused: Number of responses with a status from 400 to 499, by kind of request and error
            code. There should be few.
    """

    taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, kind: str, seconds: float, status: int, code: str = "") -> None:
        """Record a request; ``status`` is the HTTP status, or ``UNANSWERED``."""
        self.taken[kind].append(seconds)
        if status == UNANSWERED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.failed[kind] += 1
        elif status >= HTTPStatus.BAD_REQUEST:
            self.refused[kind, code or str(status)] += 1

    @property
    def count(self) -> int:
        """Return the number of all requests."""
        return sum(map(len, self.taken.values()))

    def of(self, kind: str) -> Summary:
        """Return the summary of the requests of a kind."""
        taken = self.taken[kind]
        return Summary(
            count=len(taken),
            failed=self.failed[kind],
            p50=statistics.median(taken),
            p95=quantile(taken, 0.95),
            p99=quantile(taken, 0.99),
            longest=max(taken),
        )


def quantile(values: list[float], share: float) -> float:
    """Return the smallest value that the given share of values does not exceed; 0 if empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
