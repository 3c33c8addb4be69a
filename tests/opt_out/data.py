"""Labelled replies. The reader of replies is trained and measured with them.

Each file under ``tests/fixtures/opt_out/authors`` has the replies of one author, with one JSON
object per line. ``tests/fixtures/opt_out/README.md`` says who wrote the replies, by which
instructions, and how they were labelled.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from crm_api.domain.consent.reply_reader.analysis import Context
from crm_api.domain.consent.reply_reader.classifier import ReplyClass

FOLDER = Path(__file__).parents[1] / "fixtures" / "opt_out"
AUTHORS = FOLDER / "authors"
OLD_TEXTS = FOLDER / "texts.tsv"
OLD_AUTHOR = "old"
"""The one author of the replies from which the earlier reader was made. Models learn from these
replies, but are not tested on them."""
REGRESSION_TEXTS = FOLDER / "regression.tsv"
REGRESSION_AUTHOR = "regression"
ORDINARY_TEXTS = FOLDER / "ordinary.txt"
"""Ordinary first replies of people. They are harmless, and no model learns from them."""


class Label(StrEnum):
    """What a reply asks for, as two independent judges decided."""

    STOP = "stop"
    DOUBT = "doubt"
    HARMLESS = "harmless"


class Style(StrEnum):
    """The instruction by which an author wrote replies."""

    USUAL = "usual"
    """Replies in their usual variety. The figures of the reader are measured on these replies."""
    HARD = "hard"
    """Replies that are hard on purpose: requests to stop in indirect words, and harmless replies
    that contain words of such requests."""
    OLD = "old"
    REGRESSION = "regression"
    """Replies that must not be read worse than before. Models learn from these replies, but are not
    tested on them."""


@dataclass(frozen=True)
class Labelled:
    """A reply and what it asks for.

    Attributes:
        label: The label that both judges gave; ``doubt`` if their labels differ.
        reply_class: The class that the author gave. An old reply or a regression line has a class
            only if it asks to stop.
        previous: Our last message, if the reply is within a sale; otherwise empty.
    """

    author: str
    style: Style
    language: str
    label: Label
    kind: str
    reply_class: ReplyClass | None
    text: str
    is_sale: bool
    previous: str

    @property
    def context(self) -> Context:
        """Whether the reply is within a sale, and whether our last message was a question."""
        return Context(is_sale=self.is_sale, is_question=self.previous.rstrip().endswith("?"))


def load() -> list[Labelled]:
    """Return all labelled replies, author by author."""
    authors = [one for path in sorted(AUTHORS.glob("*.jsonl")) for one in _read(path)]
    return authors + _old_texts() + regression_texts()


def digest() -> str:
    """Return one SHA-256 of the names and contents of all files from which models learn."""
    total = hashlib.sha256()
    for path in (*sorted(AUTHORS.glob("*.jsonl")), OLD_TEXTS, REGRESSION_TEXTS):
        total.update(path.name.encode() + b"\n" + path.read_bytes())
    return total.hexdigest()


def _read(path: Path) -> Iterable[Labelled]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        agreed = row["label"] == row.get("second_label", row["label"])
        yield Labelled(
            author=path.stem,
            style=Style(row["style"]),
            language=row["language"],
            label=Label(row["label"]) if agreed else Label.DOUBT,
            kind=row["kind"],
            reply_class=ReplyClass(row["reply_class"]),
            text=row["text"],
            is_sale=row["context"] == "sale",
            previous=row["previous"],
        )


_OLD_LABELS = {"opt_out": Label.STOP, "doubtful": Label.DOUBT, "none": Label.HARMLESS}


def _old_texts() -> list[Labelled]:
    lines = OLD_TEXTS.read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [
        Labelled(
            author=OLD_AUTHOR,
            style=Style.OLD,
            language="es" if language == "es" else "en",
            label=_OLD_LABELS[label],
            kind="old",
            reply_class=ReplyClass.STOP if label == "opt_out" else None,
            text=text,
            is_sale=False,
            previous="",
        )
        for _, language, label, text in rows[1:]
    ]


def regression_texts() -> list[Labelled]:
    """Return the replies that must not be read worse than before."""
    lines = REGRESSION_TEXTS.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [
        Labelled(
            author=REGRESSION_AUTHOR,
            style=Style.REGRESSION,
            language="",
            label=Label(label),
            kind="regression",
            reply_class=ReplyClass.STOP if label == Label.STOP else None,
            text=text,
            is_sale=False,
            previous="",
        )
        for label, text in rows
    ]


def ordinary_texts() -> list[str]:
    """Return the ordinary replies, from which no model learns."""
    lines = ORDINARY_TEXTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]
