"""Train the reader's model.

The same data and script give the same file: one thread, a fixed order, seeded variations, weights
rounded to 16 bits. The two thresholds are chosen on readings of authors that the model of the
moment had not seen (leave one author out), and only on the texts that the authors really wrote.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from tests.opt_out import data, variations
from tests.opt_out.data import Label, Labelled, Style

from crm_api.domain.consent import reply_reader
from crm_api.domain.consent.reply_reader import analysis, classifier, features
from crm_api.domain.consent.reply_reader.classifier import OUTPUTS, Model, ReplyClass

SEED = 20261128
STRENGTH = 30.0
"""Inverse of the regularisation; chosen on readings of authors left out."""
RAREST = 3
"""Texts that a feature must occur in to count."""
VARIATION_WEIGHT = 0.3
VARIATIONS_EACH = 1
REGRESSION_WEIGHT = 4.0
TESTED = (Style.USUAL, Style.HARD)
"""Whose authors are left out in turn; the other texts are only trained on."""
PRECISION = 0.985
"""Of those who are opted out at once so many asked for it, at least."""
HARMLESS_HELD = 0.07
"""Of the harmless replies at most so many are held."""
MODEL = Path(reply_reader.__file__).parent / classifier.FILE
LEFT_OUT = Path(__file__).parent / "left_out.npz"
LARGEST = 32_767

Matrix = Any
"""A sparse matrix of scipy, which has no complete types."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Corpus:
    """Labelled replies with their features; variations of an author's texts follow them.

    Attributes:
        is_real: False for a variation.
    """

    texts: Sequence[Labelled]
    is_real: npt.NDArray[np.bool_]
    matrix: Matrix
    hashes: npt.NDArray[np.uint32]
    authors: npt.NDArray[np.str_]

    @classmethod
    def of(cls, texts: Sequence[Labelled]) -> "Corpus":
        """Compute the features of the texts and of their variations."""
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

    def targets(self, output: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return what an output should say of each text, and which texts have a word on it."""
        if output in set(ReplyClass):
            known = np.array([one.reply_class is not None for one in self.texts])
            return np.array([one.reply_class == output for one in self.texts]), known
        wanted = {Label.STOP} if output == "asks_to_stop" else {Label.STOP, Label.DOUBT}
        return np.array([one.label in wanted for one in self.texts]), np.ones(
            len(self.texts), dtype=bool
        )

    @property
    def weights(self) -> Floats:
        """Return how much each text counts in training."""
        base = [REGRESSION_WEIGHT if one.style is Style.REGRESSION else 1.0 for one in self.texts]
        return np.array(base) * np.where(self.is_real, 1.0, VARIATION_WEIGHT)


def fit(corpus: Corpus, output: str, chosen: npt.NDArray[np.bool_]) -> LogisticRegression:
    """Fit one output on some of the texts."""
    wanted, known = corpus.targets(output)
    rows = np.flatnonzero(chosen & known)
    fitted = LogisticRegression(C=STRENGTH, solver="liblinear", random_state=SEED)
    return fitted.fit(corpus.matrix[rows], wanted[rows], sample_weight=corpus.weights[rows])


@dataclass(frozen=True)
class LeftOut:
    """Readings of authors by models that had not seen them: real texts only.

    ``make opt-out-model`` stores the probabilities, because computing them takes minutes.

    Attributes:
        texts: Author by author, in alphabetical order.
        asks: The probability of ``asks_to_stop`` of each text.
        doubts: The probability of ``needs_a_person``.
    """

    texts: Sequence[Labelled]
    asks: Floats
    doubts: Floats

    def save(self, path: Path) -> None:
        """Store the probabilities, and what they were computed from."""
        np.savez_compressed(path, asks=self.asks, doubts=self.doubts, made_from=made_from())

    @classmethod
    def load(cls, path: Path, corpus: Corpus) -> "LeftOut":
        """Return stored readings of a corpus.

        Raises:
            ValueError: They were computed from other data or by another script.
        """
        with np.load(path) as stored:
            if str(stored["made_from"]) != made_from():
                raise ValueError("run `make opt-out-model` and commit what it writes")
            rows = [own_texts(corpus, author) for author in authors_left_out(corpus)]
            texts = [corpus.texts[int(row)] for row in np.concatenate(rows)]
            return cls(texts, stored["asks"], stored["doubts"])


def authors_left_out(corpus: Corpus) -> list[str]:
    """Return the authors who are left out in turn, in alphabetical order."""
    return sorted({one.author for one in corpus.texts if one.style in TESTED})


def own_texts(corpus: Corpus, author: str) -> npt.NDArray[np.intp]:
    """Return the rows of the texts that an author really wrote."""
    return np.flatnonzero((corpus.authors == author) & corpus.is_real)


def read_author(corpus: Corpus, author: str, output: str) -> Floats:
    """Read an author's texts by one output that was fitted without this author.

    Returns:
        The probability of the output for each of the author's real texts.
    """
    fitted = fit(corpus, output, corpus.authors != author)
    probabilities: Floats = fitted.predict_proba(corpus.matrix[own_texts(corpus, author)])[:, 1]
    return probabilities


def leave_one_author_out(corpus: Corpus) -> LeftOut:
    """Read every author but the old one by a model that was trained without this author."""
    authors = authors_left_out(corpus)
    rows = np.concatenate([own_texts(corpus, author) for author in authors])
    asks, doubts = (
        np.concatenate([read_author(corpus, author, output) for author in authors])
        for output in ("asks_to_stop", "needs_a_person")
    )
    return LeftOut([corpus.texts[int(row)] for row in rows], asks, doubts)


def choose_thresholds(read: LeftOut) -> tuple[float, float]:
    """Return the two thresholds, chosen on the usual replies of authors left out."""
    usual = np.array([one.style is Style.USUAL for one in read.texts])
    stop = np.array([one.label is Label.STOP for one in read.texts])
    harmless = np.array([one.label is Label.HARMLESS for one in read.texts])
    order = np.argsort(-read.asks[usual], kind="stable")
    precise = np.cumsum(stop[usual][order]) / np.arange(1, len(order) + 1)
    opt_out_at = read.asks[usual][order][np.flatnonzero(precise >= PRECISION)[-1]]
    held = usual & harmless & (read.asks < opt_out_at)
    hold_at = np.quantile(read.doubts[held], 1 - HARMLESS_HELD)
    return round(float(opt_out_at), 4), round(float(hold_at), 4)


def train_output(corpus: Corpus, output: str) -> tuple[Floats, float]:
    """Fit one output on all texts; return its weights and its bias."""
    fitted = fit(corpus, output, np.ones(len(corpus.texts), dtype=bool))
    return fitted.coef_[0], float(fitted.intercept_[0])


def round_weights(weights: Floats) -> tuple[npt.NDArray[np.int16], Floats]:
    """Round weights to 16 bits; return them and the scale of each column."""
    scales = np.abs(weights).max(axis=0) / LARGEST
    return np.round(weights / scales).astype(np.int16), scales


def train(corpus: Corpus, thresholds: tuple[float, float]) -> Model:
    """Fit every output on all texts and round the weights."""
    fitted = [train_output(corpus, output) for output in OUTPUTS]
    weights, scales = round_weights(np.stack([coefficients for coefficients, _ in fitted], axis=1))
    opt_out_at, hold_at = thresholds
    real = [one for one, is_real in zip(corpus.texts, corpus.is_real, strict=True) if is_real]
    return Model(
        hashes=corpus.hashes,
        weights=weights,
        scales=scales.astype(np.float32),
        bias=np.array([bias for _, bias in fitted], np.float32),
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
    """Return the digests of data and script, which decide every reading."""
    return f"{data.digest()} {script_digest()}"


def script_digest() -> str:
    """Return the SHA-256 of what decides the model beside the data."""
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
        total.update(path.name.encode() + b"\n" + path.read_bytes())
    return total.hexdigest()
