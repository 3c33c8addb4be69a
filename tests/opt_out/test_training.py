"""The committed model is what data and script give, and it reads as well as documented."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.opt_out import data, figures, train
from tests.opt_out.__main__ import read_left_out
from tests.opt_out.data import Style

from crm_api.domain.consent.reply_reader.classifier import Model, current_model

LARGEST_FILE = 2 * 1024 * 1024
ONE_STEP = 1
"""Steps of the 16-bit weights by which two processors may differ."""


@pytest.fixture(scope="module")
def corpus() -> train.Corpus:
    return train.Corpus.of(data.load())


@pytest.mark.timeout(600)
def test_training_again_gives_the_same_model(corpus: train.Corpus, tmp_path: Path) -> None:
    read = train.leave_one_author_out(corpus)
    thresholds = train.choose_thresholds(read)
    again = train.train(corpus, thresholds)
    again.save(tmp_path / "model.npz")

    kept, stored = current_model(), Model.load(tmp_path / "model.npz")
    assert kept.facts == stored.facts, "run `make opt-out-model` and commit the model"
    assert np.array_equal(kept.hashes, stored.hashes)
    differences = np.abs(kept.weights.astype(np.int32) - stored.weights.astype(np.int32))
    assert differences.max() <= ONE_STEP
    assert kept.opt_out_at == pytest.approx(stored.opt_out_at, abs=1e-3)
    assert kept.hold_at == pytest.approx(stored.hold_at, abs=1e-3)
    assert (tmp_path / "model.npz").stat().st_size <= LARGEST_FILE
    _assert_reads_well(read, thresholds)


def _assert_reads_well(read: train.LeftOut, thresholds: tuple[float, float]) -> None:
    """Usual replies of authors whom the model had not seen.

    `docs/explanation/reply-reading.md` has the figures.
    """
    usual = [pair for pair in read_left_out(read, thresholds) if pair[0].style is Style.USUAL]
    found = figures.Figures.of(usual)
    assert found.recall.value >= 0.98
    assert found.at_once.value >= 0.88
    assert found.precision.value >= 0.975
    assert found.harmless_held.value <= 0.08


def test_every_author_wrote_what_was_asked_for() -> None:
    authors = [one for one in data.load() if one.style in train.TESTED]
    names = {one.author for one in authors}
    texts = Counter(one.author for one in authors)

    assert sum(count >= 400 for count in texts.values()) >= 6
    assert min(texts.values()) >= 250  # the two sets that were frozen before they were trained on
    for name in names:
        own = [one for one in authors if one.author == name]
        assert {one.language for one in own} == set(figures.LANGUAGES)
        assert len({one.text for one in own}) == len(own)
