"""Measure how often the current reply reader is right about labelled replies.

A label is a stored decision about whether the reply asked for no more messages.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from crm_api.domain.consent.models import ExampleLabel
from crm_api.domain.consent.reply_reader.analysis import Context
from crm_api.domain.consent.reply_reader.reader import Reading, ReplyKind, read_replies
from crm_api.domain.kit.intervals import wilson_interval


@dataclass(frozen=True)
class Rate:
    """A share of a total, with its 95 % confidence interval (Wilson score interval)."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """``hits`` divided by ``total``; 0.0 if ``total`` is 0."""
        return self.hits / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and upper end of the rate's 95 % confidence interval.

        They are 0.0 and 1.0 if ``total`` is 0.
        """
        return wilson_interval(self.hits, self.total) or (0.0, 1.0)

    def __str__(self) -> str:
        """Format the share, its interval and its counts, as in ``0.950 (0.900-0.975; 95/100)``."""
        low, high = self.interval
        return f"{self.value:.3f} ({low:.3f}-{high:.3f}; {self.hits}/{self.total})"


PAGE = 500
ALL = "all"
_DIGIT = re.compile(r"\d")

EXAMPLES = text("""
    SELECT r.body, r.previous, r.is_sale, r.label, r.decision, r.decided_at, r.read_as,
           r.reading ->> 'model' AS model, r.activity_id
    FROM reply_example r
    WHERE r.activity_id > :after ORDER BY r.activity_id LIMIT :limit
""")
FIRST = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, kw_only=True)
class ReadExample:
    """A labelled reply, with the stored result of the reader and the result of the current reader.

    Attributes:
        previous: Our last message before the reply; None if there was none.
        is_sale: True if an employee wrote ``previous``. The reader then assumes a conversation
            about a sale.
        label: The decision about the reply: whether it asked for no more messages.
        decision: The decision about the phone number: a ``ConsentAction``.
        read_as: The result of the reader when the reply arrived: a ``ReplyKind``.
        model: The model that the reader used when the reply arrived; None if this was not stored.
        reading: The result of the current reader.
    """

    body: str
    previous: str | None
    is_sale: bool
    label: ExampleLabel
    decision: str
    decided_at: datetime
    read_as: str
    model: str | None
    reading: Reading

    @property
    def is_stop(self) -> bool:
        """True if the label is that the reply asked for no more messages."""
        return self.label is ExampleLabel.STOP

    @property
    def is_misread(self) -> bool:
        """True if the current reader is wrong about the reply.

        The reader must read a request to stop as an opt-out; a hold is not enough. For any other
        reply, both an opt-out and a hold are wrong.
        """
        kind = self.reading.kind
        if self.is_stop:
            return kind is not ReplyKind.OPT_OUT
        return kind in {ReplyKind.OPT_OUT, ReplyKind.DOUBTFUL}

    @property
    def masked(self) -> str:
        """The text of the reply, with ``#`` for each digit."""
        return _DIGIT.sub("#", self.body)

    def exported(self) -> dict[str, Any]:
        """Return the example in the format that ``make opt-out-model EXAMPLES=`` reads."""
        return {
            "text": self.body,
            "label": self.label.value,
            "decision": self.decision,
            "decided_at": self.decided_at.isoformat(),
            "language": self.reading.language,
            "is_sale": self.is_sale,
            "previous": self.previous,
            "read_as": self.read_as,
            "model": self.model,
        }


@dataclass(frozen=True, kw_only=True)
class ExampleFigures:
    """How well the current reader reads a set of labelled replies.

    Attributes:
        recall: Of all requests to stop, the share that the reader reads as an opt-out or a hold.
        at_once: Of all requests to stop, the share that the reader reads as an opt-out.
        precision: Of all replies that the reader reads as an opt-out, the share of requests to
            stop.
        harmless_held: Of all replies that do not ask to stop, the share that the reader reads as a
            hold.
    """

    recall: Rate
    at_once: Rate
    precision: Rate
    harmless_held: Rate

    @classmethod
    def of(cls, examples: Sequence[ReadExample]) -> "ExampleFigures":
        """Compute how often the reply reader is right about these example replies.

        Each example contains the decision of a person about a reply, and the result of the reader.
        """
        stops = [one for one in examples if one.is_stop]
        others = [one for one in examples if not one.is_stop]
        out = [one for one in examples if one.reading.kind is ReplyKind.OPT_OUT]
        return cls(
            recall=_rate(stops, lambda one: one.reading.kind in _STOPPING),
            at_once=_rate(stops, lambda one: one.reading.kind is ReplyKind.OPT_OUT),
            precision=_rate(out, lambda one: one.is_stop),
            harmless_held=_rate(others, lambda one: one.reading.kind is ReplyKind.DOUBTFUL),
        )


_STOPPING = frozenset({ReplyKind.OPT_OUT, ReplyKind.DOUBTFUL})


def _rate(whole: Sequence[ReadExample], part: Callable[[ReadExample], bool]) -> Rate:
    return Rate(sum(part(one) for one in whole), len(whole))


async def read_examples(connection: AsyncConnection) -> list[ReadExample]:
    """Load all stored reply examples, and read each reply with the current reader.

    The examples are ordered by message id.
    """
    found: list[ReadExample] = []
    after: object = FIRST
    while True:
        rows = (await connection.execute(EXAMPLES, {"after": after, "limit": PAGE})).all()
        contexts = [
            Context(is_sale=row.is_sale, is_question=(row.previous or "").rstrip().endswith("?"))
            for row in rows
        ]
        readings = read_replies([row.body for row in rows], contexts)
        found += [
            ReadExample(
                body=row.body,
                previous=row.previous,
                is_sale=row.is_sale,
                label=ExampleLabel(row.label),
                decision=row.decision,
                decided_at=row.decided_at,
                read_as=row.read_as,
                model=row.model,
                reading=reading,
            )
            for row, reading in zip(rows, readings, strict=True)
        ]
        if len(rows) < PAGE:
            return found
        after = rows[-1].activity_id


def by_language(examples: Sequence[ReadExample]) -> dict[str, list[ReadExample]]:
    """Group the examples by the language that the reader assumed.

    The group ``ALL`` has the examples of all languages.
    """
    languages = sorted({one.reading.language for one in examples})
    return {ALL: list(examples)} | {
        name: [one for one in examples if one.reading.language == name] for name in languages
    }


def misread(examples: Iterable[ReadExample]) -> list[ReadExample]:
    """Return the examples that the current reader misreads, the worst first.

    The order is: requests to stop that the reader ignores, wrong opt-outs, wrong holds, requests to
    stop that the reader only puts on hold.
    """
    return sorted((one for one in examples if one.is_misread), key=_severity)


def _severity(one: ReadExample) -> int:
    if one.is_stop:
        return 0 if one.reading.kind not in _STOPPING else 3
    return 1 if one.reading.kind is ReplyKind.OPT_OUT else 2
