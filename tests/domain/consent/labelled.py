"""The labelled texts of ``tests/fixtures/opt_out``, and how well the reader reads them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crm_api.domain.consent.words import Kind, read

TEXTS = Path(__file__).parents[2] / "fixtures" / "opt_out" / "texts.tsv"
LABELS = (Kind.OPT_OUT, Kind.DOUBTFUL, Kind.NONE)


@dataclass(frozen=True)
class Labelled:
    """A text and what it asks for; the rules of labelling stand at the head of the file."""

    half: str
    language: str
    label: Kind
    text: str


def load() -> list[Labelled]:
    """Read the file."""
    lines = TEXTS.read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [Labelled(half, language, Kind(label), text) for half, language, label, text in rows[1:]]


def read_as(text: str) -> Kind:
    """Read a text; START and HELP are none, for they are no opt-out and hold nothing."""
    kind = read(text).kind
    return kind if kind in LABELS else Kind.NONE


@dataclass
class Figures:
    """How labels and readings meet."""

    counts: Counter[tuple[Kind, Kind]] = field(default_factory=Counter)
    wrong: list[tuple[Labelled, Kind]] = field(default_factory=list)

    @classmethod
    def of(cls, texts: Iterable[Labelled]) -> "Figures":
        """Read each text and compare."""
        figures = cls()
        for one in texts:
            kind = read_as(one.text)
            figures.counts[one.label, kind] += 1
            if kind is not one.label:
                figures.wrong.append((one, kind))
        return figures

    def labelled(self, label: Kind) -> int:
        """Count the texts with a label."""
        return sum(self.counts[label, kind] for kind in LABELS)

    def read_as(self, kind: Kind) -> int:
        """Count the texts with a reading."""
        return sum(self.counts[label, kind] for label in LABELS)

    @property
    def recall(self) -> float:
        """The part of the opt-outs that is out at once or held."""
        missed = self.counts[Kind.OPT_OUT, Kind.NONE]
        return 1 - missed / self.labelled(Kind.OPT_OUT)

    @property
    def recall_at_once(self) -> float:
        """The part of the opt-outs that is out at once."""
        return self.counts[Kind.OPT_OUT, Kind.OPT_OUT] / self.labelled(Kind.OPT_OUT)

    @property
    def precision(self) -> float:
        """The part of those out at once that asked for it; doubtful ones did not."""
        return self.counts[Kind.OPT_OUT, Kind.OPT_OUT] / self.read_as(Kind.OPT_OUT)
