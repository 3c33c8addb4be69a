"""Train the model that reads replies.

The same data and script give the same file on every processor. The training uses one thread, a
fixed order, seeded variations, and weights that are rounded to 16 bits. Every step uses only
operations that IEEE 754 rounds exactly: sums in a fixed order, products, quotients and roots. The
one exception is the exponential function. Its result is rounded to so few digits that processors do
not differ in them.

The two thresholds are chosen on readings by models that had not learned from the author of the
text. One author after another is left out of a training. Only the texts that the authors really
wrote are read for this choice.
"""

import ast
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from tests.opt_out import data, variations
from tests.opt_out.data import Label, Labelled, Style

from crm_api.domain.consent import reply_reader
from crm_api.domain.consent.reply_reader import analysis, classifier, features, reader
from crm_api.domain.consent.reply_reader.classifier import HIDDEN, OUTPUTS, Model
from crm_api.domain.consent.reply_reader.reader import ReplyKind

SEED = 20261128
RAREST = 3
"""A feature is used if it occurs in at least this number of texts."""
EPOCHS = 8
"""How often the training uses each text. This number and the numbers below were chosen on the texts
of authors who were left out of the training."""
BATCH = 64
RATE = 0.004
"""The length of the training step (learning rate) of the first batch. It falls to 0 in equal steps
until the last batch."""
DROPPED = 0.3
"""The share of a text's features that a training step leaves out. They are drawn again for each
step."""
DECAY = 1e-5
CLASS_WEIGHT = 0.5
"""The weight of an output for a reply class. The outputs ``asks_to_stop`` and ``needs_a_person``
have the weight 1."""
VARIATION_WEIGHT = 0.3
VARIATIONS_EACH = 1
STYLE_WEIGHTS = {Style.REGRESSION: 8.0, Style.OLD: 4.0}
"""The weight of a text of these styles; texts of other styles have the weight 1. The texts of these
styles must be read as they were before."""
TESTED = (Style.USUAL, Style.HARD)
"""Styles whose authors are left out of the training in turn, so that a model is tested on them.
Texts of other styles are used only for training."""
PRECISION = 0.985
"""At least this share of the replies that opt out at once must be requests to stop."""
HARMLESS_HELD = 0.075
"""At most this share of the harmless replies may cause a hold."""
MODEL = Path(reply_reader.__file__).parent / classifier.FILE
LEFT_OUT = Path(__file__).parent / "left_out.npz"
STEPS = 65_536
"""Number of equal steps from 0 to 1. While a model is trained, probabilities are rounded to these
steps."""
LARGEST = 127
"""The largest rounded weight. With 511 instead, no reading of 2,250 texts of four authors would
change, but the file would exceed 2 MB."""

Matrix = Any
"""A sparse matrix of scipy. The types of scipy are not complete."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Corpus:
    """Labelled replies, then variations of them, with the features of each text.

    Attributes:
        is_real: For each text: False if it is a variation.
    """

    texts: Sequence[Labelled]
    is_real: npt.NDArray[np.bool_]
    matrix: Matrix
    hashes: npt.NDArray[np.uint32]
    authors: npt.NDArray[np.str_]

    @classmethod
    def of(cls, texts: Sequence[Labelled]) -> "Corpus":
        """Return a corpus with the features of these texts and of their variations."""
        rng = random.Random(SEED)  # noqa: S311 - not for security
        every = [(one, one.text, True) for one in texts]
        for _ in range(VARIATIONS_EACH):
            every += [(one, variations.vary(one.text, rng), False) for one in texts]
        found = features.features_of(
            [analysis.analyse(text) for _, text, _ in every], [one.context for one, _, _ in every]
        )
        found = found.at(found.are_whole.nonzero()[0])
        hashes, columns = np.unique(found.hashes, return_inverse=True)
        matrix = sparse.csr_matrix(
            (found.weights / found.row.norms[found.owners], (found.owners, columns)),
            shape=(len(every), len(hashes)),
            dtype=np.float32,
        )
        matrix.sum_duplicates()
        is_real = np.array([real for _, _, real in every])
        often = np.asarray((matrix[is_real] != 0).sum(axis=0)).ravel() >= RAREST
        return cls(
            texts=[one for one, _, _ in every],
            is_real=is_real,
            matrix=matrix[:, np.flatnonzero(often)].tocsr(),
            hashes=hashes[often],
            authors=np.array([one.author for one, _, _ in every]),
        )

    @property
    def targets(self) -> tuple[Floats, Floats]:
        """The value that each output should have for each text, and the weight of a wrong value.

        Both matrices have one row per text and one column per output. If a text has no reply class,
        the weights of its outputs for classes are 0.
        """
        wanted = [
            [one.label is Label.STOP, one.label is not Label.HARMLESS]
            + [one.reply_class == output for output in OUTPUTS[2:]]
            for one in self.texts
        ]
        known = np.array([one.reply_class is not None for one in self.texts])
        counts = np.ones((len(self.texts), len(OUTPUTS)), np.float32)
        counts[:, 2:] = np.where(known, CLASS_WEIGHT, 0.0)[:, None]
        return np.array(wanted, np.float32), counts * self.weights[:, None]

    @property
    def weights(self) -> Floats:
        """The weight of each text in the training."""
        base = np.array([STYLE_WEIGHTS.get(one.style, 1.0) for one in self.texts])
        return (base * np.where(self.is_real, 1.0, VARIATION_WEIGHT)).astype(np.float32)


@dataclass
class Network:
    """A network with one hidden layer, while it is trained.

    Attributes:
        parts: The weights of the features (one row per feature, one column per hidden unit), the
            bias of the units, the weights of the outputs (one row per unit), and their bias.
        means: For each part, the moving mean of its gradient, which Adam (the method) needs.
        squares: For each part, the moving mean of its squared gradient.
        steps: The number of training steps so far.
    """

    parts: list[Floats]
    means: list[Floats]
    squares: list[Floats]
    steps: int = 0

    @classmethod
    def start(cls, features: int, rng: np.random.RandomState) -> "Network":
        """Return a network whose weights are drawn at random, evenly around 0."""

        def drawn(rows: int, columns: int, spread: float) -> Floats:
            return ((rng.random_sample((rows, columns)) * 2 - 1) * spread).astype(np.float32)

        parts = [
            drawn(features, HIDDEN, 0.18),
            np.zeros(HIDDEN, np.float32),
            drawn(HIDDEN, len(OUTPUTS), 0.43),
            np.zeros(len(OUTPUTS), np.float32),
        ]
        return cls(
            parts, [np.zeros_like(one) for one in parts], [np.zeros_like(one) for one in parts]
        )

    def read(self, matrix: Matrix) -> Floats:
        """Return the probability of every output, with one row per text."""
        weights, bias, heads, head_bias = self.parts
        return _probability(_sums(np.maximum(matrix @ weights + bias, 0), heads) + head_bias)

    def step(self, batch: Matrix, wanted: Floats, counts: Floats, rate: float) -> None:
        """Learn from some texts by one step of Adam (Kingma and Ba, 2015).

        Args:
            batch: The features of the texts. It has a column for each feature.
            wanted: The value that each output should have.
            counts: The weight of a wrong value.
            rate: The length of the step.
        """
        columns, places = np.unique(batch.indices, return_inverse=True)
        local = sparse.csr_matrix(
            (batch.data, places, batch.indptr), shape=(batch.shape[0], len(columns))
        )
        weights, bias, heads, head_bias = self.parts
        before = local @ weights[columns] + bias
        hidden = np.maximum(before, 0)
        wrong = (_probability(_sums(hidden, heads) + head_bias) - wanted) * counts
        wrong /= np.float32(batch.shape[0])
        back = _sums(wrong, heads.T) * (before > 0)
        self.steps += 1
        decay = np.float32(DECAY)
        self._move(0, local.T @ back + decay * weights[columns], rate, columns)
        self._move(1, back.sum(axis=0), rate)
        self._move(2, _sums(hidden.T, wrong) + decay * heads, rate)
        self._move(3, wrong.sum(axis=0), rate)

    def _move(self, part: int, gradient: Floats, rate: float, rows: Any = slice(None)) -> None:
        mean = self.means[part][rows] * np.float32(0.9) + gradient * np.float32(0.1)
        square = self.squares[part][rows] * np.float32(0.999) + gradient**2 * np.float32(0.001)
        self.means[part][rows] = mean
        self.squares[part][rows] = square
        mean = mean / np.float32(1 - 0.9**self.steps)
        square = square / np.float32(1 - 0.999**self.steps)
        self.parts[part][rows] -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))


def _sums(left: Floats, right: Floats) -> Floats:
    """Multiply two matrices.

    The sums are computed in a fixed order. A BLAS library does not have a fixed order.
    """
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for place in range(left.shape[1]):
        total += left[:, place, None] * right[place]
    return total


def _probability(scores: Floats) -> Floats:
    """Return the logistic function of the scores, rounded to 16 binary digits.

    The docstring of the module gives the reason.
    """
    exact = 1 / (1 + np.exp(-scores.astype(np.float64)))
    return (np.round(exact * STEPS) / STEPS).astype(np.float32)


def fit(corpus: Corpus, chosen: npt.NDArray[np.bool_]) -> Network:
    """Train a network on the chosen texts of a corpus."""
    rng = np.random.RandomState(SEED)
    wanted, counts = corpus.targets
    network = Network.start(corpus.matrix.shape[1], rng)
    rows = np.flatnonzero(chosen)
    total = EPOCHS * -(-len(rows) // BATCH)
    for _ in range(EPOCHS):
        rng.shuffle(rows)
        for start in range(0, len(rows), BATCH):
            picked = np.sort(rows[start : start + BATCH])
            batch = corpus.matrix[picked]
            kept = rng.random_sample(len(batch.data)) >= DROPPED
            batch.data = batch.data * kept * np.float32(1 / (1 - DROPPED))
            rate = RATE * (1 - (network.steps + 1) / (total + 1))
            network.step(batch, wanted[picked], counts[picked], rate)
    return network


@dataclass(frozen=True)
class LeftOut:
    """Readings of the real texts of each author, by models that had not learned from this author.

    ``make opt-out-model`` stores the probabilities, because computing them takes minutes.

    Attributes:
        texts: The texts, author by author. The authors are in alphabetical order.
        read: The probability of each output, with one row per text.
    """

    texts: Sequence[Labelled]
    read: Floats

    @property
    def asks(self) -> Floats:
        """For each text, the probability of the output ``asks_to_stop``."""
        return self.read[:, 0]

    @property
    def doubts(self) -> Floats:
        """For each text, the probability of the output ``needs_a_person``."""
        return self.read[:, 1]

    def save(self, path: Path) -> None:
        """Store the probabilities, and the digests of the data and the script that gave them."""
        steps = np.round(self.read * STEPS).astype(np.int32)
        np.savez_compressed(path, steps=steps, made_from=made_from())

    @classmethod
    def load(cls, path: Path, corpus: Corpus) -> "LeftOut":
        """Return the stored readings of a corpus.

        Raises:
            ValueError: The stored readings were computed from other data or by another script.
        """
        with np.load(path) as stored:
            if str(stored["made_from"]) != made_from():
                raise ValueError("run `make opt-out-model` and commit what it writes")
            rows = [own_texts(corpus, author) for author in authors_left_out(corpus)]
            texts = [corpus.texts[int(row)] for row in np.concatenate(rows)]
            return cls(texts, (stored["steps"] / STEPS).astype(np.float32))


def authors_left_out(corpus: Corpus) -> list[str]:
    """Return the authors who are left out of the training in turn, in alphabetical order."""
    return sorted({one.author for one in corpus.texts if one.style in TESTED})


def own_texts(corpus: Corpus, author: str) -> npt.NDArray[np.intp]:
    """Return the rows of the texts that an author really wrote, without the variations."""
    return np.flatnonzero((corpus.authors == author) & corpus.is_real)


def read_author(corpus: Corpus, author: str) -> Floats:
    """Read an author's texts with a model that was trained without this author.

    Returns:
        The probability of each output, with one row for each of the author's real texts.
    """
    network = fit(corpus, corpus.authors != author)
    return network.read(corpus.matrix[own_texts(corpus, author)])


def leave_one_author_out(corpus: Corpus) -> LeftOut:
    """Read the texts of each tested author with a model that was trained without this author."""
    authors = authors_left_out(corpus)
    rows = np.concatenate([own_texts(corpus, author) for author in authors])
    read = np.concatenate([read_author(corpus, author) for author in authors])
    return LeftOut([corpus.texts[int(row)] for row in rows], read)


def choose_thresholds(read: LeftOut) -> tuple[float, float]:
    """Return the thresholds for an opt-out and for a hold.

    They are chosen on readings by models that had not learned from the author of the text.
    """
    stop = np.array([one.label is Label.STOP for one in read.texts])
    harmless = np.array([one.label is Label.HARMLESS for one in read.texts])
    certain = [reader.decide(one.text, 0.0, 0.0, 0.5, 0.5) for one in read.texts]
    asks = np.where([kind is ReplyKind.OPT_OUT for kind in certain], 2.0, read.asks)
    order = np.argsort(-asks, kind="stable")
    precise = np.cumsum(stop[order]) / np.arange(1, len(order) + 1)
    opt_out_at = asks[order][np.flatnonzero(precise >= PRECISION)[-1]]
    doubts = np.where(asks < opt_out_at, read.doubts, 0.0)
    hold_at = np.quantile(doubts[harmless], 1 - HARMLESS_HELD)
    return round(float(opt_out_at), 4), round(float(hold_at), 4)


def round_weights(weights: Floats) -> tuple[npt.NDArray[np.int16], Floats]:
    """Round weights to 16 bits; return them and the scale of each column."""
    scales = np.abs(weights).max(axis=0) / np.float32(LARGEST)
    return np.round(weights / scales).astype(np.int16), scales


def train(corpus: Corpus, thresholds: tuple[float, float]) -> Model:
    """Train the model on all texts, and round its weights."""
    weights, bias, heads, head_bias = fit(corpus, np.ones(len(corpus.texts), dtype=bool)).parts
    rounded, scales = round_weights(weights)
    opt_out_at, hold_at = thresholds
    real = [one for one, is_real in zip(corpus.texts, corpus.is_real, strict=True) if is_real]
    return Model(
        hashes=corpus.hashes,
        weights=rounded,
        scales=scales,
        bias=bias,
        heads=heads,
        head_bias=head_bias,
        opt_out_at=opt_out_at,
        hold_at=hold_at,
        facts={
            "data_sha256": data.digest(),
            "script_sha256": script_digest(),
            "texts": len(real),
            "authors": len({one.author for one in real}),
            "seed": SEED,
        },
    )


def made_from() -> str:
    """Return the digests of the data and the script, which together determine every reading."""
    return f"{data.digest()} {script_digest()}"


def script_digest() -> str:
    """Return one SHA-256 of all files that determine the model, except the data."""
    package = Path(reply_reader.__file__).parent
    own = Path(__file__).parent
    files = (
        own / "data.py",
        own / "train.py",
        own / "variations.py",
        package / "analysis.py",
        package / "features.py",
        package / "lexicon.py",
        package / "lexicon.tsv",
    )
    total = hashlib.sha256()
    for path in files:
        content = _code(path) if path.suffix == ".py" else path.read_bytes()
        total.update(path.name.encode() + b"\n" + content)
    return total.hexdigest()


def _code(path: Path) -> bytes:
    """Return the lines of code of a module, without docstrings, comment lines and empty lines."""
    source = path.read_text(encoding="utf-8")
    texts = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return "\n".join(
        line
        for number, line in enumerate(source.splitlines(), 1)
        if number not in texts and line.strip() and not line.lstrip().startswith("#")
    ).encode()
