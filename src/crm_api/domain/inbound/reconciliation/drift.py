"""Differences between the provider and here: counts, with a few examples of each kind.

Kept as JSON in the run: ``{"created": {"count": 2, "examples": [{"id": "AC…", "kind": "message",
"direction": "incoming", "at": "…"}]}}``. It holds no phone numbers and no message bodies.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

MOST_EXAMPLES = 20

Document = dict[str, Any]


class DriftKind(StrEnum):
    """Kind of a difference."""

    CREATED = "created"
    """The provider had it and it was missing here; it is stored now."""
    CORRECTED = "corrected"
    """The provider had a later state; it is stored now."""
    UNKNOWN_HERE = "unknown_here"
    """The provider has it, and it could not be stored here."""
    UNKNOWN_THERE = "unknown_there"
    """It is stored here and the provider does not list it; it stays."""


SENTENCES = {
    DriftKind.CREATED: "{count} that no webhook reported",
    DriftKind.CORRECTED: "{count} whose state was behind",
    DriftKind.UNKNOWN_HERE: "{count} that could not be stored",
    DriftKind.UNKNOWN_THERE: "{count} that OpenPhone does not list",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftExample:
    """One message, call or thread that differed.

    Attributes:
        was: The stored state, when the state differs.
        now: The provider's state.
        why: Why it could not be stored.
    """

    id: str | None
    kind: str
    direction: str | None = None
    at: datetime | None = None
    was: str | None = None
    now: str | None = None
    why: str | None = None

    def shown(self) -> Document:
        """Return it as JSON, without members that are None."""
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


def count_difference(drift: Document, kind: DriftKind, example: DriftExample) -> None:
    """Count one more; keep it as an example while there are fewer than ``MOST_EXAMPLES``."""
    found = drift.setdefault(kind.value, {"count": 0, "examples": []})
    found["count"] += 1
    if len(found["examples"]) < MOST_EXAMPLES:
        found["examples"].append(example.shown())


def count_by_kind(drift: Document) -> dict[str, int]:
    """Return the count of each kind, 0 included."""
    return {kind.value: drift.get(kind.value, {}).get("count", 0) for kind in DriftKind}


def drift_sentence(drift: Document) -> str:
    """Return one sentence for an alert."""
    parts = [
        words.format(count=f"{count:,}")
        for kind, words in SENTENCES.items()
        if (count := count_by_kind(drift)[kind.value])
    ]
    return f"OpenPhone and this service differed in messages or calls: {'; '.join(parts)}."
