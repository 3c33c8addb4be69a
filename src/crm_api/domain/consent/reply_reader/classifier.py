"""The trained part of the reader: one linear model over hashed features.

Every output is a logistic regression: its score is the sum of the weights of the features of a
reply. A sum can be taken apart again, so each answer names the words that weighed most.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crm_api.domain.consent.reply_reader.analysis import Analysis, Context
from crm_api.domain.consent.reply_reader.features import Features, features_of, first_words


class ReplyClass(StrEnum):
    """What kind of answer a reply is; a proposal, which a person may change."""

    INTERESTED = "interested"
    QUESTION = "question"
    LATER = "later"
    NOT_INTERESTED = "not_interested"
    WRONG_NUMBER = "wrong_number"
    STOP = "stop"
    OTHER = "other"


CLASSES = tuple(ReplyClass)
OUTPUTS = ("asks_to_stop", "needs_a_person", *CLASSES)
"""What each column of the weights scores: the request, the request or a doubt, and the classes."""
FILE = "model.npz"

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint32]
_COLUMNS = np.arange(len(OUTPUTS))
_BUCKET_BITS = np.uint32(16)


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        hashes: The features that count, ascending.
        weights: Per feature and output, 16-bit; times ``scales`` they are the real weights.
        bias: Per output.
        opt_out_at: From this probability of ``asks_to_stop`` on, a reply opts out.
        hold_at: From this probability of ``needs_a_person`` on, a reply holds.
        facts: What the model was trained on: hashes of data and script, counts, date.
    """

    hashes: Hashes
    weights: npt.NDArray[np.int16]
    scales: Array
    bias: Array
    opt_out_at: float
    hold_at: float
    facts: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        facts = {**self.facts, "opt_out_at": self.opt_out_at, "hold_at": self.hold_at}
        np.savez_compressed(
            path,
            hashes=self.hashes,
            weights=self.weights,
            scales=self.scales,
            bias=self.bias,
            facts=np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8),
        )

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Read a model from a file."""
        with np.load(path, allow_pickle=False) as stored:
            facts = json.loads(stored["facts"].tobytes())
            return cls(
                hashes=stored["hashes"],
                weights=stored["weights"],
                scales=stored["scales"],
                bias=stored["bias"],
                opt_out_at=facts.pop("opt_out_at"),
                hold_at=facts.pop("hold_at"),
                facts=facts,
            )

    def find(self, hashes: Hashes) -> tuple[Rows, npt.NDArray[np.int64]]:
        """Return the rows of those features that the model knows, and their places in ``hashes``.

        The upper half of a hash leads to the few features that share it; a binary search over all
        took longer than everything else together.
        """
        begins, largest = self._buckets
        rows = begins[hashes >> _BUCKET_BITS]
        for _ in range(largest):
            rows += self.hashes.take(rows, mode="clip") < hashes
        known = (self.hashes.take(rows, mode="clip") == hashes).nonzero()[0]
        return rows[known], known

    @cached_property
    def _buckets(self) -> tuple[Rows, int]:
        """Where the features of each upper half begin, and how many the largest has."""
        uppers = np.arange(0, 1 << 32, 1 << _BUCKET_BITS, dtype=np.uint32)
        begins = np.searchsorted(self.hashes, uppers).astype(np.int32)
        return begins, int(np.diff(begins, append=len(self.hashes)).max())


@lru_cache(maxsize=1)
def current_model() -> Model:
    """Return the model of this release, which is a file of the package."""
    return Model.load(Path(__file__).with_name(FILE))


@dataclass(frozen=True)
class Scores:
    """What a model says of several replies.

    Attributes:
        probabilities: Of each output, one row per reply.
        known: The features of the replies that the model knows.
        parts: What each of them adds to the scores of the first two outputs.
    """

    analyses: Sequence[Analysis]
    probabilities: Array
    known: Features
    parts: npt.NDArray[np.float64]

    @cached_property
    def starts(self) -> Sequence[int]:
        """Where the words of each reply begin in ``words``."""
        return first_words(self.analyses)

    @cached_property
    def words(self) -> npt.NDArray[np.float64]:
        """The part that each word has in the first two scores, the words of all in a row.

        A feature that covers several words counts for each in equal parts.
        """
        firsts = self.known.firsts
        covers = (firsts >= 0).nonzero()[0]
        firsts, afters = firsts[covers], self.known.lasts[covers] + 1
        length = self.starts[-1] + 1
        words = []
        for part in self.parts[covers].T / (afters - firsts):
            begun = np.bincount(firsts, weights=part, minlength=length)
            begun -= np.bincount(afters, weights=part, minlength=length)
            words.append(np.cumsum(begun))
        return np.stack(words)


def score_replies(
    model: Model, analyses: Sequence[Analysis], contexts: Sequence[Context]
) -> Scores:
    """Score replies in one pass over all of them."""
    features = features_of(analyses, contexts)
    rows, places = model.find(features.hashes)
    known = features.at(places)
    whole = known.are_whole
    if not whole.all():
        rows, known = rows[whole], known.at(whole.nonzero()[0])
    owners = known.owners
    weights = (known.weights / features.row.norms[owners]).astype(np.float32)
    values = model.weights.take(rows, axis=0, mode="clip") * weights[:, None]
    bins = owners[:, None] * len(OUTPUTS) + _COLUMNS
    sums = np.bincount(
        bins.ravel(), weights=values.ravel(), minlength=len(analyses) * len(OUTPUTS)
    ).reshape(len(analyses), len(OUTPUTS))
    probabilities = 1 / (1 + np.exp(-(sums * model.scales + model.bias)))
    parts = (values[:, :2] * model.scales[:2]).astype(np.float64)
    return Scores(analyses, probabilities.astype(np.float32), known, parts)


def weighed_words(scores: Scores, place: int, *, output: str) -> list[tuple[str, float]]:
    """Return the words of one of the replies with their parts of a score, heaviest first."""
    start = scores.starts[place]
    words = scores.analyses[place].words
    parts = scores.words[OUTPUTS.index(output), start : start + len(words)].tolist()
    return sorted(zip(words, parts, strict=True), key=lambda pair: -pair[1])
