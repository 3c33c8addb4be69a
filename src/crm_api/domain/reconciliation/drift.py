"""What differed between the provider and here: counted, with a few examples of each kind.

Kept as JSON in the run: ``{"created": {"count": 2, "examples": [{"id": "AC…", "kind": "message",
"direction": "incoming", "at": "…"}]}}``. No number and no text of anybody is in it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

MOST_EXAMPLES = 20

Document = dict[str, Any]


class DriftKind(StrEnum):
    """How something can differ."""

    CREATED = "created"
    """It was there and not here; now it is."""
    CORRECTED = "corrected"
    """It had come further there."""
    UNKNOWN_HERE = "unknown_here"
    """It is there and could not be taken over."""
    UNKNOWN_THERE = "unknown_there"
    """It is here and the provider does not list it; it stays."""


SENTENCES = {
    DriftKind.CREATED: "{count} that no webhook told of",
    DriftKind.CORRECTED: "{count} whose state was behind",
    DriftKind.UNKNOWN_HERE: "{count} that could not be taken over",
    DriftKind.UNKNOWN_THERE: "{count} that OpenPhone does not list",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One thing that differed.

    Attributes:
        was: What was stored before, when that is what differed.
        now: What the provider says.
        why: Why it could not be taken over.
    """

    id: str | None
    kind: str
    direction: str | None = None
    at: datetime | None = None
    was: str | None = None
    now: str | None = None
    why: str | None = None

    def shown(self) -> Document:
        """Write it down, without what is not there."""
        written = {
            "id": self.id,
            "kind": self.kind,
            "direction": self.direction,
            "at": None if self.at is None else self.at.isoformat(),
            "was": self.was,
            "now": self.now,
            "why": self.why,
        }
        return {name: value for name, value in written.items() if value is not None}


def note(drift: Document, kind: DriftKind, example: Example) -> None:
    """Count one more, and keep it as an example while there are few."""
    found = drift.setdefault(kind.value, {"count": 0, "examples": []})
    found["count"] += 1
    if len(found["examples"]) < MOST_EXAMPLES:
        found["examples"].append(example.shown())


def counts(drift: Document) -> dict[str, int]:
    """Return how many there are of each kind, also of those that there are none of."""
    return {kind.value: drift.get(kind.value, {}).get("count", 0) for kind in DriftKind}


def sentence(drift: Document) -> str:
    """Say it in one sentence, for an alert."""
    told = [
        words.format(count=f"{count:,}")
        for kind, words in SENTENCES.items()
        if (count := counts(drift)[kind.value])
    ]
    return f"OpenPhone and this service differed in messages or calls: {'; '.join(told)}."
