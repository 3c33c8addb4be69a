"""Prove that the data and the script give the committed model, which reads as documented."""

import os
import random
from collections import Counter

import numpy as np
import pytest
from tests.long_tests import long_test
from tests.opt_out import data, figures, train
from tests.opt_out.__main__ import read_left_out
from tests.opt_out.data import Style

from crm_api.domain.consent.reply_reader.classifier import current_model
from crm_api.domain.consent.reply_reader.reader import ReplyKind, read_replies

LARGEST_FILE = 2 * 1024 * 1024
DOCUMENTED = {
    Style.USUAL: {
        "en": (0.996, 0.991),
        "es": (0.993, 0.993),
        "pt": (0.996, 0.981),
        "ht": (1.000, 0.995),
        "fr": (0.995, 0.990),
    },
    Style.HARD: {
        "en": (0.990, 0.978),
        "es": (0.996, 0.985),
        "pt": (0.993, 0.984),
        "ht": (0.994, 0.992),
        "fr": (0.993, 0.989),
    },
}
"""For each language, the recall with holds and the precision, as in
`docs/explanation/reply-reading.md`."""
A_FEW_REPLIES = 0.01
"""Tolerance: two replies of the language that has the fewest replies. A new training may read two
more replies wrong by chance."""
BEHIND_ENGLISH = 0.02
"""Allowed difference from English. A smaller difference may be chance: the interval of a precision
from 222 opt-outs (Portuguese) is 0.049 wide."""


@pytest.fixture(scope="module")
def corpus() -> train.Corpus:
    return train.Corpus.of(data.load())


@pytest.fixture(scope="module")
def read(corpus: train.Corpus) -> train.LeftOut:
    return train.LeftOut.load(train.LEFT_OUT, corpus)


@pytest.fixture(scope="module")
def readings(read: train.LeftOut) -> list[tuple[data.Labelled, ReplyKind]]:
    return read_left_out(read, train.choose_thresholds(read))


@pytest.fixture(scope="module")
def drawn() -> random.Random:
    seed = int(os.environ.get("OPT_OUT_SEED", random.SystemRandom().randrange(2**31)))
    print(f"OPT_OUT_SEED={seed}")  # noqa: T201 - to repeat it
    return random.Random(seed)  # noqa: S311 - repeatable


def test_model_was_made_from_this_data_by_this_script(read: train.LeftOut) -> None:
    model = current_model()

    assert f"{model.facts['data_sha256']} {model.facts['script_sha256']}" == train.made_from()
    assert (model.opt_out_at, model.hold_at) == train.choose_thresholds(read)
    assert train.MODEL.stat().st_size <= LARGEST_FILE


@long_test
@pytest.mark.timeout(300)
def test_training_again_gives_the_same_model(corpus: train.Corpus) -> None:
    model = current_model()

    again = train.train(corpus, (model.opt_out_at, model.hold_at))

    assert np.array_equal(again.hashes, model.hashes)
    assert np.array_equal(again.weights, model.weights)
    for part in ("scales", "bias", "heads", "head_bias"):
        assert np.array_equal(getattr(again, part), getattr(model, part)), part


@long_test
@pytest.mark.timeout(300)
def test_a_model_that_has_not_seen_an_author_reads_as_stored(
    corpus: train.Corpus, read: train.LeftOut, drawn: random.Random
) -> None:
    author = drawn.choice(train.authors_left_out(corpus))
    own = [position for position, one in enumerate(read.texts) if one.author == author]

    again = train.read_author(corpus, author)

    assert np.array_equal(again, read.read[own]), author


@pytest.mark.parametrize("chosen", [tuple(Style), (Style.USUAL,), (Style.HARD,)])
def test_model_reads_unknown_authors_as_well_as_required(
    readings: list[tuple[data.Labelled, ReplyKind]], chosen: tuple[Style, ...]
) -> None:
    """Prove that the model reads replies of unknown authors as well as required.

    The figures are in `docs/explanation/reply-reading.md`.
    """
    found = figures.Figures.of([pair for pair in readings if pair[0].style in chosen])

    assert found.recall.value >= 0.99
    assert found.at_once.value >= 0.90
    assert found.precision.value >= 0.98
    assert found.harmless_held.value <= 0.08


@pytest.mark.parametrize("style", DOCUMENTED)
@pytest.mark.parametrize("language", figures.LANGUAGES)
def test_model_reads_each_language_as_well_as_documented(
    readings: list[tuple[data.Labelled, ReplyKind]], style: Style, language: str
) -> None:
    found = figures_of(readings, style, language)

    recall, precision = DOCUMENTED[style][language]
    assert found.recall.value >= recall - A_FEW_REPLIES
    assert found.precision.value >= precision - A_FEW_REPLIES


@pytest.mark.parametrize("style", DOCUMENTED)
@pytest.mark.parametrize("language", ["es", "pt"])
def test_model_reads_spanish_and_portuguese_as_well_as_english(
    readings: list[tuple[data.Labelled, ReplyKind]], style: Style, language: str
) -> None:
    found, english = figures_of(readings, style, language), figures_of(readings, style, "en")

    assert found.recall.value >= english.recall.value - BEHIND_ENGLISH
    assert found.precision.value >= english.precision.value - BEHIND_ENGLISH


def figures_of(
    readings: list[tuple[data.Labelled, ReplyKind]], style: Style, language: str
) -> figures.Figures:
    kind = (style, language)
    return figures.Figures.of([one for one in readings if (one[0].style, one[0].language) == kind])


def test_every_author_wrote_what_was_asked_for() -> None:
    authors = [one for one in data.load() if one.style in train.TESTED]
    names = {one.author for one in authors}
    texts = Counter(one.author for one in authors)

    assert sum(count >= 400 for count in texts.values()) >= 6
    # The smallest sets were first used to measure a frozen model, and later for training.
    assert min(texts.values()) >= 250
    for name in names:
        own = [one for one in authors if one.author == name]
        assert {one.language for one in own} == set(figures.LANGUAGES)
        assert len({one.text for one in own}) == len(own)


def test_model_reads_replies_written_after_it_was_frozen_as_documented() -> None:
    """Prove that the model reads replies that were written after it was frozen as documented.

    The expected figures are those of the first reading. The model must not learn from these
    replies.
    """
    paths = sorted((data.FOLDER / "frozen").glob("*.jsonl"))
    texts = [one for path in paths for one in data._read(path)]

    readings = read_replies([one.text for one in texts], [one.context for one in texts])

    pairs = [(one, reading.kind) for one, reading in zip(texts, readings, strict=True)]
    found = figures.Figures.of(pairs)
    assert [(one.hits, one.total) for one in (found.recall, found.at_once)] == [
        (224, 224),
        (214, 224),
    ]
    assert (found.precision.total, found.harmless_held.hits) == (217, 7)
    assert not {one.author for one in texts} & {one.author for one in data.load()}
