"""How well texts are read that people might write, and that nothing breaks the reader."""

import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.consent.labelled import Figures, Labelled, load

from crm_api.domain.consent import phrases, spelling, vocabulary
from crm_api.domain.consent.words import LONGEST_READ, Kind, read

TEXTS = load()
FEWEST = 400
WORDS = [word for word in vocabulary._SIGNED_WORDS.split() if "|" not in word]
CLEAR = [one.text for one in TEXTS if read(one.text).kind is Kind.OPT_OUT]
AROUND = (
    " ",
    "  ",
    "\t",
    "\n",
    ".",
    "!",
    "!!!",
    ",",
    "...",
    "\u2026",
    '"',
    "'",
    "*",
    "~",
    "\u00a0",
)
EMOJI = (
    "\U0001f620",
    "\U0001f64f",
    "\U0001f44e\U0001f3fd",
    "\u2764\ufe0f",
    "\U0001f6d1",
    "\U0001f595",
)
ACCENTS = ("\u0300", "\u0301", "\u0303", "\u0308")


def _half(name: str) -> list[Labelled]:
    return [one for one in TEXTS if one.half == name]


def test_labelled_set_is_large_and_balanced() -> None:
    asked = sum(one.label is Kind.OPT_OUT for one in TEXTS)

    assert len(TEXTS) >= FEWEST
    assert 0.4 <= asked / len(TEXTS) <= 0.6
    assert len({one.text for one in TEXTS}) == len(TEXTS)
    assert {one.language for one in TEXTS} == {"en", "es", "mixed"}


@pytest.mark.parametrize("half", ["development", "held_out", None])
def test_opt_outs_are_found_and_others_let_be(half: str | None) -> None:
    figures = Figures.of(TEXTS if half is None else _half(half))

    assert figures.recall >= 0.99
    assert figures.precision >= 0.97
    assert figures.recall_at_once >= 0.93
    assert figures.counts[Kind.NONE, Kind.DOUBTFUL] <= 0.02 * figures.labelled(Kind.NONE)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_dress_of_a_clear_opt_out_does_not_matter(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(CLEAR))
    around = st.lists(st.sampled_from(AROUND + EMOJI), max_size=4).map("".join)
    recased = data.draw(st.sampled_from(["upper", "lower", "title", "swapcase", "strip"]))
    dressed: str = getattr(text, recased)()
    dressed = dressed.replace(" ", data.draw(st.sampled_from([" ", "  ", "\u00a0", " \u200b"])))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(dressed) - 1))
        accent = data.draw(st.sampled_from(ACCENTS)) if dressed[at].isalpha() else ""
        dressed = dressed[: at + 1] + accent + dressed[at + 1 :]

    assert read(data.draw(around) + dressed + data.draw(around)).kind is Kind.OPT_OUT


@given(st.text(st.characters(), max_size=400))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read(text: str) -> None:
    assert read(text).kind in Kind


@given(st.text(st.sampled_from("stopunqeaxdm \t\n.?!*-_'$@+\u0301\u200b\U0001f6d1"), max_size=200))
@settings(max_examples=500, deadline=None)
def test_what_is_decisive_is_always_told(text: str) -> None:
    reading = read(text)

    assert (reading.wording is None) == (reading.kind is Kind.NONE)
    assert reading.wording != ""


@pytest.mark.parametrize(
    "text",
    [
        "\ud800",
        "stop\udfff texting me",
        "".join(map(chr, range(32))) + "stop",
        "\x00" * 100_000,
        "".join(chr(one) for one in range(0, sys.maxunicode, 13)),
        unicodedata.normalize("NFD", "\u1e69" * 100_000),
    ],
)
def test_odd_characters_do_no_harm(text: str) -> None:
    assert read(text).kind in Kind


@pytest.mark.parametrize(
    "piece",
    [
        "stop ",
        "a ",
        "s.",
        "no more ",
        "my my number ",
        "the my text call number ",
        "dont dont text ",
        "take me off of from ",
        "stop or stop ",
        "never ever again text ",
        "spam spam",
        "reply stop to ",
        "liked ",
        "aaaa",
        "*",
        "f**",
        "-",
        "@$+",
        ".?!",
    ],
)
def test_reading_time_does_not_grow_with_the_text(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    begun = time.process_time()

    for tail in ("", "x", "?"):
        read(text + tail)
        read((text + tail)[:LONGEST_READ])

    assert time.process_time() - begun < 1.0


def test_end_of_a_long_text_is_read() -> None:
    assert read("My house is old. " * 400 + "Please stop texting me.").kind is Kind.OPT_OUT


@given(st.lists(st.sampled_from(WORDS), min_size=200, max_size=600))
@settings(max_examples=50, deadline=None)
def test_many_words_of_the_vocabulary_are_read_quickly(words: list[str]) -> None:
    begun = time.process_time()

    read(" ".join(words))

    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("cue", [cue for _, cues in phrases.CUES for cue in cues])
def test_each_cue_is_found_in_its_example(cue: phrases.Cue) -> None:
    reading = read(cue.example)

    weighs_alone = cue.weight >= phrases.DOUBTFUL
    assert (reading.kind in {Kind.OPT_OUT, Kind.DOUBTFUL}) or not weighs_alone
    assert cue.weight < phrases.CLEAR or reading.kind is Kind.OPT_OUT


@pytest.mark.parametrize("word", ["stpo", "sotp", "stp", "stopp", "stoop", "st0p", "5top", "$top"])
def test_mistyped_stop_is_no_ordinary_word(word: str) -> None:
    assert read(word).kind in {Kind.OPT_OUT, Kind.DOUBTFUL}


@pytest.mark.parametrize(
    "word", ["shop", "step", "top", "spot", "stow", "quite", "quiet", "cancer"]
)
def test_words_one_slip_away_stay_what_they_are(word: str) -> None:
    assert read(f"The {word} is by the house").kind is Kind.NONE


def test_a_slip_is_one_letter_lost_added_replaced_or_swapped() -> None:
    slips = spelling.slips("stop")

    assert {"top", "sstop", "stip", "sotp"} <= slips
    assert "stop" not in slips
    assert "sopt" not in slips
