"""Compare a new model with the current one, reply by reply, before it is committed.

The current reader is the code and the model of a git revision. Today's code cannot run an old
model, because the features of the old model may have another meaning in it. Both readers read the
same replies. Only the replies that they read differently decide the result (exact sign test).
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

from tests.opt_out import data
from tests.opt_out.data import Label, Labelled, Style
from tests.opt_out.figures import Figures

from crm_api.domain.consent.example_evaluation import Rate
from crm_api.domain.consent.reply_reader import reader
from crm_api.domain.consent.reply_reader.analysis import analyse
from crm_api.domain.consent.reply_reader.classifier import Model, score_replies
from crm_api.domain.consent.reply_reader.reader import ReplyKind

NOISE = 0.01
"""If chance alone gives a result with a higher probability than this, the result is noise. Seven
replies that are read worse, and none that is read better, are not noise."""
FROZEN = data.FOLDER / "frozen"
OFFICE = "office examples"
REGRESSION = "regression lines"
ROOT = Path(__file__).parents[2]
READ = """
import json, sys
from crm_api.domain.consent.reply_reader.features import Context
from crm_api.domain.consent.reply_reader.reader import read_replies
rows = json.load(sys.stdin)
contexts = [Context(is_sale=sale, is_question=question) for _, sale, question in rows]
kinds = [one.kind.value for one in read_replies([text for text, _, _ in rows], contexts)]
json.dump(kinds, sys.stdout)
"""
Kinds = Sequence[ReplyKind]


class CurrentReaderError(Exception):
    """The reader of a git revision cannot be run; the text of the error gives the reason."""


def sets_of(texts: Sequence[Labelled], examples: Path | None) -> dict[str, Sequence[Labelled]]:
    """Return the sets of replies by name, without the empty sets.

    The sets are the replies of the authors, the frozen replies (no model learns from them), the
    regression lines, and the examples of the office.
    """
    found = {
        "usual replies": [one for one in texts if one.style is Style.USUAL],
        "hard replies": [one for one in texts if one.style is Style.HARD],
        "old replies": [one for one in texts if one.style is Style.OLD],
        # A public name for ``_read`` would change data.py, and with it the digest of the script in
        # the model.
        "frozen sets": [one for path in sorted(FROZEN.glob("*.jsonl")) for one in data._read(path)],
        REGRESSION: [one for one in texts if one.style is Style.REGRESSION],
        OFFICE: read_examples(examples) if examples else [],
    }
    return {name: chosen for name, chosen in found.items() if chosen}


def read_examples(path: Path) -> list[Labelled]:
    """Return the replies in a file that ``crm-api opt-out evaluate --export`` wrote."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Labelled(
            author="office",
            style=Style.USUAL,
            language=row["language"],
            label=Label.STOP if row["label"] == "stop" else Label.HARMLESS,
            kind=row["decision"],
            reply_class=None,
            text=row["text"],
            is_sale=row["is_sale"],
            previous=row["previous"] or "",
        )
        for row in rows
    ]


def read_with(model: Model, texts: Sequence[Labelled]) -> Kinds:
    """Read replies with the present code and a model that is not in the package yet."""
    analyses = [analyse(one.text) for one in texts]
    scores = score_replies(model, analyses, [one.context for one in texts]).probabilities
    return [
        reader.decide(one.text, float(asks), float(doubts), model.opt_out_at, model.hold_at)
        for one, (asks, doubts) in zip(texts, scores[:, :2], strict=True)
    ]


def read_at_revision(revision: str, texts: Sequence[Labelled], *, root: Path = ROOT) -> Kinds:
    """Read replies with the code and the model of a git revision.

    Raises:
        CurrentReaderError: Git does not know the revision, or the revision has no such reader.
    """
    archive = _run(["git", "-C", str(root), "archive", revision, "src/crm_api"], b"", os.environ)
    rows = [(one.text, one.context.is_sale, one.context.is_question) for one in texts]
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        there = {**os.environ, "PYTHONPATH": str(Path(folder) / "src")}
        found = _run([sys.executable, "-c", READ], json.dumps(rows).encode(), there)
    return [ReplyKind(kind) for kind in json.loads(found)]


def _run(command: Sequence[str], given: bytes, environment: Mapping[str, str]) -> bytes:
    try:
        ended = subprocess.run(  # noqa: S603 - git and this Python
            command, input=given, env=environment, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        errors = getattr(error, "stderr", b"").decode().strip().splitlines() or [str(error)]
        sentence = f"The current reader cannot be run ({command[0]}: {errors[-1]})"
        raise CurrentReaderError(sentence) from error
    return ended.stdout


@dataclass(frozen=True)
class Comparison:
    """The readings of one set of replies by two readers, compared by one measure.

    Attributes:
        better: Replies that only the new reader reads right.
        worse: Replies that only the current reader reads right.
    """

    name: str
    measure: str
    current: Rate
    new: Rate
    better: Sequence[Labelled]
    worse: Sequence[Labelled]

    @property
    def is_worse(self) -> bool:
        """True if the new reader is worse by more than chance explains.

        For regression lines, one reply that is read worse is enough.
        """
        if self.name == REGRESSION:
            return bool(self.worse)
        return len(self.worse) > len(self.better) and self._chance() < NOISE

    def _chance(self) -> float:
        """Return the probability that chance alone makes at least as many replies worse."""
        total = len(self.worse) + len(self.better)
        ways = sum(comb(total, worse) for worse in range(len(self.worse), total + 1))
        return float(ways / 2**total)


@dataclass(frozen=True)
class _Measure:
    """A rate, the labels of the replies that it uses, and the readings that are right for them."""

    rate: Callable[[Figures], Rate]
    labels: frozenset[Label]
    right: frozenset[ReplyKind]


_ALL = frozenset(ReplyKind)
_MEASURES = {
    "recall with holds": _Measure(
        lambda found: found.recall,
        frozenset({Label.STOP}),
        frozenset({ReplyKind.OPT_OUT, ReplyKind.DOUBTFUL}),
    ),
    "at once": _Measure(
        lambda found: found.at_once, frozenset({Label.STOP}), frozenset({ReplyKind.OPT_OUT})
    ),
    "precision": _Measure(
        lambda found: found.precision,
        frozenset({Label.DOUBT, Label.HARMLESS}),
        _ALL - {ReplyKind.OPT_OUT},
    ),
    "harmless held": _Measure(
        lambda found: found.harmless_held,
        frozenset({Label.HARMLESS}),
        _ALL - {ReplyKind.DOUBTFUL},
    ),
}


def compare(
    name: str, texts: Sequence[Labelled], current: Kinds, new: Kinds
) -> Iterable[Comparison]:
    """Compare the readings of two readers on one set of replies, by every measure."""
    before = Figures.of(list(zip(texts, current, strict=True)))
    after = Figures.of(list(zip(texts, new, strict=True)))
    for measure, one in _MEASURES.items():
        read = [
            (text, was in one.right, now in one.right)
            for text, was, now in zip(texts, current, new, strict=True)
            if text.label in one.labels
        ]
        yield Comparison(
            name=name,
            measure=measure,
            current=one.rate(before),
            new=one.rate(after),
            better=[text for text, was, now in read if now and not was],
            worse=[text for text, was, now in read if was and not now],
        )


def write_table(compared: Iterable[Comparison]) -> Iterable[str]:
    """Yield the results of the current and the new reader as lines of a Markdown table."""
    yield "| set | measure | current | new | better | worse |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in compared:
        counts = f"{len(one.better)} | {len(one.worse)}"
        yield f"| {one.name} | {one.measure} | {one.current} | {one.new} | {counts} |"


def write_losses(compared: Iterable[Comparison]) -> Iterable[str]:
    """Yield each measure that is worse by more than chance explains, with the worse replies."""
    for one in compared:
        if one.is_worse:
            yield (
                f"worse on {one.name}, {one.measure}: {len(one.worse)} replies are read worse, "
                f"{len(one.better)} better"
            )
            yield from (f"  {text.label:8} {text.text}" for text in one.worse)
