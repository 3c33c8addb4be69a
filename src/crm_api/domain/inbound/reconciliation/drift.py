"""Count the differences between the provider's data and ours, with examples of each kind.

The counts and examples are stored as JSON in the run: ``{"created": {"count": 2, "examples":
[{"id": "AC…", "kind": "message", "direction": "incoming", "at": "…"}]}}``. The JSON has no phone
numbers and no message bodies.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

MOST_EXAMPLES = 20

Document = dict[str, Any]


class DriftKind(StrEnum):
    """Kind of a difference between the provider's data and the stored data."""

    CREATED = "created"
    """The provider had the item, but it was not stored here. It is stored now."""
    CORRECTED = "corrected"
    """The provider had a later status of the item. That status is stored now."""
    UNKNOWN_HERE = "unknown_here"
    """The provider has the item, but it could not be stored here."""
    UNKNOWN_THERE = "unknown_there"
    """The item is stored here, but the provider does not list it. It stays stored."""


SENTENCES = {
    DriftKind.CREATED: "{count} reported by no webhook",
    DriftKind.CORRECTED: "{count} with an outdated status",
    DriftKind.UNKNOWN_HERE: "{count} that could not be stored",
    DriftKind.UNKNOWN_THERE: "{count} not listed by OpenPhone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftExample:
    """An example of a difference between the provider's data and ours.

    Attributes:
        id: The provider's id of the message or call; None for a conversation, and for an item
            without an id.
        kind: ``message``, ``call``, ``thread`` (a conversation that could not be read),
            ``unreadable`` (an item that could not be read), or the name of a part of a call that
            could not be fetched, such as ``voicemail``.
        was: The stored status; None if nothing is stored.
        now: The provider's status; None if it is not known.
        why: Why the item could not be read or stored.
    """

    id: str | None
    kind: str
    direction: str | None = None
    at: datetime | None = None
    was: str | None = None
    now: str | None = None
    why: str | None = None

    def shown(self) -> Document:
        """Return this example of a difference as a JSON object.

        Fields that are None are left out.
        """
        written = asdict(self) | {"at": None if self.at is None else self.at.isoformat()}
        return {name: value for name, value in written.items() if value is not None}


def count_difference(drift: Document, kind: DriftKind, example: DriftExample) -> None:
    """Count one difference between the provider's data and the stored data.

    At most ``MOST_EXAMPLES`` differences of each kind are also stored as examples.
    """
    found = drift.setdefault(kind.value, {"count": 0, "examples": []})
    found["count"] += 1
    if len(found["examples"]) < MOST_EXAMPLES:
        found["examples"].append(example.shown())


def count_by_kind(drift: Document) -> dict[str, int]:
    """Return how often the provider's data and ours differ, by kind of difference (0 if never)."""
    return {kind.value: drift.get(kind.value, {}).get("count", 0) for kind in DriftKind}


def drift_sentence(drift: Document) -> str:
    """Return a sentence for an alert: how the provider's data and ours differed.

    Example: "OpenPhone and this service had different messages or calls: 3 with an outdated
    status."
    """
    parts = [
        words.format(count=f"{count:,}")
        for kind, words in SENTENCES.items()
        if (count := count_by_kind(drift)[kind.value])
    ]
    return f"OpenPhone and this service had different messages or calls: {'; '.join(parts)}."
