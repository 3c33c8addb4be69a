"""The trained part of the reply reader: a small neural network with one hidden layer.

The inputs are hashes of the features of a reply, such as pairs of words. The value of a hidden unit
is the sum of the weights of these features, plus a bias. A unit is active if its value is above 0.
The service can compute how much each feature adds to a score.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crm_api.domain.consent.reply_reader.analysis import Analysis, Context
from crm_api.domain.consent.reply_reader.features import Features, features_of, first_words
from crm_api.domain.consent.reply_reader.reply_classes import CLASSES

# This name is exported, because the scripts that train the model import it from this module. The
# model stores digests of these scripts. So if an import in a script changes, the model must be
# trained again.
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass as ReplyClass  # noqa: PLC0414 - as above

OUTPUTS = ("asks_to_stop", "needs_a_person", *CLASSES)
"""The outputs of the model, in the order of the columns of the weights.

``asks_to_stop``: the person asks for no more messages. ``needs_a_person``: the person asks or may
ask for no more messages. After these two outputs, there is one output for each class of reply.
"""
HIDDEN = 12
"""The number of hidden units."""
FILE = "model.npz"

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint32]
_UNITS = np.arange(HIDDEN)
_SMALLEST = 0.0001
"""The limit of certainty: a probability is at least this value, and at most 1 minus this value."""
_BUCKET_BITS = np.uint32(16)


@dataclass(frozen=True)
class Model:
    """A trained model: a neural network with one hidden layer.

    Attributes:
        hashes: The hashes of the features that the model knows, ascending.
        weights: One row per feature, one column per hidden unit, as 16-bit integers.
        scales: One factor per hidden unit. The real weight is the integer multiplied by this
            factor.
        bias: The bias of each hidden unit.
        heads: The weights of the outputs: one row per hidden unit, one column per output.
        head_bias: The bias of each output.
        opt_out_at: A reply is an opt-out if its probability of ``asks_to_stop`` is not below this.
        hold_at: A reply puts the number on hold if its probability of ``needs_a_person`` is not
            below this.
        facts: How the model was trained: digests of the data and of the script, counts, date.
    """

    hashes: Hashes
    weights: npt.NDArray[np.int16]
    scales: Array
    bias: Array
    heads: Array
    head_bias: Array
    opt_out_at: float
    hold_at: float
    facts: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the model to a file that ``load`` reads."""
        facts = {**self.facts, "opt_out_at": self.opt_out_at, "hold_at": self.hold_at}
        np.savez_compressed(
            path,
            hashes=self.hashes,
            weights=self.weights,
            scales=self.scales,
            bias=self.bias,
            heads=self.heads,
            head_bias=self.head_bias,
            facts=np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8),
        )

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Read a model from a file that ``save`` has written."""
        with np.load(path, allow_pickle=False) as stored:
            facts = json.loads(stored["facts"].tobytes())
            return cls(
                hashes=stored["hashes"],
                weights=stored["weights"],
                scales=stored["scales"],
                bias=stored["bias"],
                heads=stored["heads"],
                head_bias=stored["head_bias"],
                opt_out_at=facts.pop("opt_out_at"),
                hold_at=facts.pop("hold_at"),
                facts=facts,
            )

    def find(self, hashes: Hashes) -> tuple[Rows, npt.NDArray[np.int64]]:
        """Find the features that the model knows, by their hashes.

        The upper half of a hash selects a small group of known hashes (a bucket). Only this bucket
        is searched, from its beginning. This is faster than a binary search over all known hashes.

        Returns:
            For each known feature: its row in ``weights``, and its index in the argument
            ``hashes``.
        """
        begins, largest = self._buckets
        rows = begins[hashes >> _BUCKET_BITS]
        for _ in range(largest):
            rows += self.hashes.take(rows, mode="clip") < hashes
        known = (self.hashes.take(rows, mode="clip") == hashes).nonzero()[0]
        return rows[known], known

    @cached_property
    def _buckets(self) -> tuple[Rows, int]:
        """The row at which each bucket of features begins, and the size of the largest bucket.

        A bucket consists of all features whose hashes have the same upper half.
        """
        uppers = np.arange(0, 1 << 32, 1 << _BUCKET_BITS, dtype=np.uint32)
        begins = np.searchsorted(self.hashes, uppers).astype(np.int32)
        return begins, int(np.diff(begins, append=len(self.hashes)).max())


@lru_cache(maxsize=1)
def current_model() -> Model:
    """Load the model that is shipped with this release; it is loaded once per process."""
    return Model.load(Path(__file__).with_name(FILE))


@dataclass(frozen=True)
class Scores:
    """The scores of a model for several replies.

    An occurrence is one place in a reply that has a feature of the model.

    Attributes:
        analyses: The replies, in the given order.
        probabilities: One row per reply, one column per output, from 0 to 1.
        known: The features of all replies that the model knows. There is one entry for each
            occurrence.
        values: What each occurrence adds to each hidden unit: one row per occurrence, one column
            per unit.
        factors: Two factors for each reply and hidden unit. The effect of an occurrence on the
            score ``asks_to_stop`` is its value in ``values``, multiplied by the first factor. The
            second factor is for ``needs_a_person``. Both are 0 if the unit is not active.
    """

    analyses: Sequence[Analysis]
    probabilities: Array
    known: Features
    values: Array
    factors: Array

    @cached_property
    def parts(self) -> npt.NDArray[np.float64]:
        """How much each feature found in a reply raises or lowers two scores of the reply.

        A feature is, for example, a pair of words. The array has one row for each time that a
        feature was found. The first column is for the score ``asks_to_stop``, the second for
        ``needs_a_person``.
        """
        factors = self.factors[self.known.owners]
        parts: npt.NDArray[np.float64] = np.einsum("ou,ouk->ok", self.values, factors)
        return parts

    @cached_property
    def starts(self) -> Sequence[int]:
        """For each reply, the index of its first word in the list of all replies' words.

        The last item is the total number of words. A reply without words counts as one word. For
        example, replies with 2, 0 and 3 words give [0, 2, 3, 6].
        """
        return first_words(self.analyses)

    @cached_property
    def words(self) -> npt.NDArray[np.float64]:
        """How much each word of the replies raises or lowers two scores of its reply.

        The first row is for ``asks_to_stop``, the second row for ``needs_a_person``. There is one
        column for each word, in the order of the replies and their words. A reply without words has
        one column. The last column is not used. The effect of a feature with several words is
        divided equally among the words.
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
    """Compute the probability of each of the ``OUTPUTS`` of the model, for several replies."""
    features = features_of(analyses, contexts)
    rows, places = model.find(features.hashes)
    known = features.at(places)
    whole = known.are_whole
    if not whole.all():
        rows, known = rows[whole], known.at(whole.nonzero()[0])
    owners = known.owners
    weights = (known.weights / features.row.norms[owners]).astype(np.float32)
    values = model.weights.take(rows, axis=0, mode="clip") * weights[:, None]
    bins = owners[:, None] * HIDDEN + _UNITS
    sums = np.bincount(
        bins.ravel(), weights=values.ravel(), minlength=len(analyses) * HIDDEN
    ).reshape(len(analyses), HIDDEN)
    hidden = sums * model.scales + model.bias
    active = hidden > 0
    scores = (hidden * active) @ model.heads + model.head_bias
    probabilities = (1 / (1 + np.exp(-scores))).clip(_SMALLEST, 1 - _SMALLEST)
    factors = (active * model.scales)[:, :, None] * model.heads[:, :2]
    return Scores(analyses, probabilities.astype(np.float32), known, values, factors)


def weighed_words(scores: Scores, place: int, *, output: str) -> list[tuple[str, float]]:
    """Return the words of one reply, each with its effect on a score of the reply.

    The word that increases the score most is first.

    Args:
        scores: The scores of several replies.
        place: The index of the reply.
        output: The score: ``asks_to_stop`` or ``needs_a_person``.
    """
    start = scores.starts[place]
    words = scores.analyses[place].words
    parts = scores.words[OUTPUTS.index(output), start : start + len(words)].tolist()
    return sorted(zip(words, parts, strict=True), key=lambda pair: -pair[1])
