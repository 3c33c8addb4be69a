"""The reader of replies: keywords, replies of the regression data, and arbitrary texts."""

import sys
import unicodedata
from functools import cache
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.opt_out import data
from tests.opt_out.data import Label

from crm_api.domain.consent.reply_reader import keywords
from crm_api.domain.consent.reply_reader.analysis import (
    COURTESIES,
    Context,
    analyse,
)
from crm_api.domain.consent.reply_reader.classifier import (
    current_model,
    score_replies,
    weighed_words,
)
from crm_api.domain.consent.reply_reader.features import features_of
from crm_api.domain.consent.reply_reader.lexicon import lexicon
from crm_api.domain.consent.reply_reader.reader import (
    DecidedBy,
    ReplyKind,
    decide,
    read_past_replies,
    read_replies,
    read_reply,
)
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass

STOPS = {ReplyKind.OPT_OUT, ReplyKind.DOUBTFUL}
REGRESSION = data.regression_texts()


@cache
def opted_out() -> list[str]:
    """Return up to 800 labelled requests to stop that the reader reads as opt-outs."""
    requests = (one.text for one in data.load() if one.label is Label.STOP)
    return list(islice((t for t in requests if read_reply(t).kind is ReplyKind.OPT_OUT), 800))


@pytest.mark.parametrize("keyword", sorted(keywords.OPT_OUT))
@pytest.mark.parametrize("written", ["{}", "{}.", " {}!! ", "please {}", "{} gracias", "{} svp"])
def test_keyword_of_every_language_opts_out(keyword: str, written: str) -> None:
    for text in (written.format(keyword), written.format(keyword.upper())):
        reading = read_reply(text)

        assert (reading.kind, reading.decided_by) == (ReplyKind.OPT_OUT, DecidedBy.KEYWORD)


@pytest.mark.parametrize(
    "text",
    [
        "S T O P",
        "s.t.o.p",
        "st op",
        "stoooop",
        "st0p",
        "\uff33\uff34\uff2f\uff30",
        "St\u00f3p",
        "\u0455top",
        "stop\u200b",
        "STOP STOP STOP",
        "ARR\u00caTE",
        "\U0001f64f STOP \U0001f64f",
        "Stop. Thank you",
    ],
)
def test_keyword_is_found_in_unusual_spelling(text: str) -> None:
    assert read_reply(text).kind is ReplyKind.OPT_OUT


@pytest.mark.parametrize("word", ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"])
@pytest.mark.parametrize("written", ["{}", " {} ", "{}\n"])
def test_provider_keyword_opts_out_and_is_confirmed_by_the_provider(
    word: str, written: str
) -> None:
    for text in (written.format(word), written.format(word.lower())):
        reading = read_reply(text)

        assert (reading.kind, reading.provider_confirms) == (ReplyKind.OPT_OUT, True)


@pytest.mark.parametrize(
    "text",
    ["stop please", "STOP.", "stop all", "opt out", "REVOKE", "REMOVE", "stop texting me", "alto"],
)
def test_other_requests_opt_out_and_are_confirmed_by_us(text: str) -> None:
    reading = read_reply(text)

    assert (reading.kind, reading.provider_confirms) == (ReplyKind.OPT_OUT, False)


@pytest.mark.parametrize("text", ["START", "start", " Start. ", "UNSTOP", '"unstop"'])
def test_start_opts_in(text: str) -> None:
    assert read_reply(text).kind is ReplyKind.OPT_IN


@pytest.mark.parametrize(
    "text", ["HELP", "help!", "Info", "INFO?", "Ayuda", "AJUDA", "aide", "\u00e8d"]
)
def test_help_request_is_recognised(text: str) -> None:
    assert read_reply(text).kind is ReplyKind.HELP


@pytest.mark.parametrize("one", REGRESSION, ids=lambda one: one.text[:40])
def test_regression_text_is_read_as_labelled(one: data.Labelled) -> None:
    kind = read_reply(one.text).kind

    if one.label is Label.HARMLESS:
        assert kind is not ReplyKind.OPT_OUT
    else:
        assert kind in STOPS


def test_nearly_all_harmless_regression_texts_change_nothing() -> None:
    harmless = [one.text for one in REGRESSION if one.label is Label.HARMLESS]

    held = [text for text in harmless if read_reply(text).kind is not ReplyKind.NONE]

    assert len(held) <= len(harmless) // 100, held


@pytest.mark.parametrize(
    "text", ["Yes, please call me.", "Sure, when?", "How much is it?", "Me interesa", "last"]
)
def test_plain_first_reply_changes_nothing(text: str) -> None:
    assert read_reply(text).kind is ReplyKind.NONE


def test_ordinary_replies_outside_the_training_data_are_seldom_held() -> None:
    texts = data.ordinary_texts()

    kinds = [read_reply(text).kind for text in texts]

    assert set(texts).isdisjoint(one.text for one in data.load())
    assert ReplyKind.OPT_OUT not in kinds
    assert kinds.count(ReplyKind.DOUBTFUL) <= len(texts) * 0.05


def test_there_are_three_hundred_different_regression_texts() -> None:
    assert len(REGRESSION) >= 300
    assert len({one.text for one in REGRESSION}) == len(REGRESSION)


COURTESY_WORDS = sorted(COURTESIES)
PUNCTUATION = [" ", "!", "!!!", ".", "...", ",", "\u2026", "-", '"', "\n", "\u00a0"]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_politeness_punctuation_and_capitals_change_no_reading(draw: st.DataObject) -> None:
    text = draw.draw(st.sampled_from(opted_out()))
    polite = st.lists(st.sampled_from(COURTESY_WORDS), max_size=3).map(" ".join)
    marks = st.lists(st.sampled_from(PUNCTUATION), max_size=3).map("".join)
    cased = getattr(text, draw.draw(st.sampled_from(["upper", "lower", "swapcase", "strip"])))()
    dressed = f"{draw.draw(polite)} {draw.draw(marks)}{cased}{draw.draw(marks)} {draw.draw(polite)}"

    assert read_reply(dressed).kind is ReplyKind.OPT_OUT


@given(st.text(st.characters(), max_size=400))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read(text: str) -> None:
    reading = read_reply(text)

    assert reading.kind in ReplyKind
    assert (reading.wording is None) == (reading.kind is ReplyKind.NONE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\U0001f44d",
        "\U0001f3e0\U0001f6e0\ufe0f",
        "?",
        "\ud800",
        "stop\udfff texting me",
        "".join(map(chr, range(32))) + "stop",
        "\x00" * 100_000,
        "".join(chr(one) for one in range(0, sys.maxunicode, 13)),
        unicodedata.normalize("NFD", "\u1e69" * 100_000),
        "\u202estop\u202c",
        "stop \u05d0\u05d1 \u0441\u0442\u043e\u043f",
        "stop the " * 100_000,
    ],
)
def test_odd_text_is_read_without_error(text: str) -> None:
    assert read_reply(text).kind in ReplyKind


@pytest.mark.parametrize("text", ["", "   ", "please", "Thank you!", "ok thanks", "\U0001f44d"])
def test_empty_or_polite_text_changes_no_consent(text: str) -> None:
    assert read_reply(text).kind is ReplyKind.NONE


@pytest.mark.parametrize("picture", ["\U0001f6d1", "\u26d4", "\U0001f6ab", "\U0001f595"])
def test_stop_sign_alone_holds_or_opts_out(picture: str) -> None:
    assert read_reply(picture).kind in STOPS


@pytest.mark.parametrize(
    "text",
    [
        "My house is old. " * 400 + "Please stop texting me.",
        "Please stop texting me. " + "My house is old. " * 400,
        "The rooms are warm and the roof is dry. " * 9 + "Don't write to me again.",
    ],
)
def test_request_at_either_end_of_a_long_reply_is_found(text: str) -> None:
    assert read_reply(text).kind in STOPS


def test_long_reply_without_a_request_changes_nothing() -> None:
    text = "Yes, we would like a quote for the roof, it is from 1998 and leaks a little. " * 5

    assert read_reply(text).kind is ReplyKind.NONE


@pytest.mark.parametrize(
    "text",
    [
        'Liked "Hi Ada, this is Granite. Reply STOP to opt out."',
        "Loved \u201cReply STOP to unsubscribe\u201d",
        "\U0001f44d to \u201cReply STOP to opt out\u201d",
        "\u200a\U0001f44d\u200b to \u201c\u200aReply STOP\nto opt out\u200a\u201d\u200b",
        "Loved \u201cReply \u201cSTOP\u201d to opt out\u201d",
        'Liked "A 6" crack? Reply "STOP" to opt out"',
        "Disliked 'The owners' offer. Don't worry, reply STOP'",
        "Le gust\u00f3 \u201cResponda STOP\u201d",
        "A Ana le gusto \u00abResponda STOP\u00bb.",
        "Removed a like from \u201cSTOP\u201d",
    ],
)
def test_reaction_to_our_own_message_is_recognised(text: str) -> None:
    assert read_reply(text).decided_by is DecidedBy.REACTION


@pytest.mark.parametrize(
    "text",
    [
        'Need to "opt out"',
        "Want to 'stop' getting these",
        "Liked \u201cHi\u201d but stop texting me",
        'Liked "Hi" but don\'t "text" me again',
        "Questioned \u201cHi Ada\u201d\nSTOP",
        "Loved \u201cHi\u201d. \u201cSTOP\u201d",
        "Laughed at 'Hi' \U0001f6d1",
    ],
)
def test_request_to_stop_beside_a_quotation_counts(text: str) -> None:
    reading = read_reply(text)

    assert (reading.kind, reading.provider_confirms) == (ReplyKind.OPT_OUT, False)
    assert decide(text, reading.asks_to_stop, 1, 0.5, 0.5) is ReplyKind.OPT_OUT


def test_words_after_a_reaction_are_read_without_the_quotation() -> None:
    text = "Liked \u201cReply STOP to opt out\u201d Yes, please come on Tuesday"

    assert read_reply(text).kind is ReplyKind.NONE


def test_replies_read_in_a_batch_are_read_as_one_by_one() -> None:
    texts = ["", *(one.text for one in REGRESSION), ""]
    contexts = [Context(is_sale=place % 2 == 0) for place in range(len(texts))]

    together = read_replies(texts, contexts)

    alone = [read_reply(text, context) for text, context in zip(texts, contexts, strict=True)]
    assert [reading.kind for reading in together] == [reading.kind for reading in alone]
    assert [reading.wording for reading in together] == [reading.wording for reading in alone]
    assert [reading.asks_to_stop for reading in together] == pytest.approx(
        [reading.asks_to_stop for reading in alone], abs=1e-3
    )


@pytest.mark.parametrize(
    ("context", "count"), [(Context(), 77), (Context(is_sale=True, is_question=True), 80)]
)
def test_model_knows_every_feature_of_a_frequent_reply(context: Context, count: int) -> None:
    features = features_of([analyse("stop texting me")], [context])

    found = features.hashes[features.are_whole]

    assert len(found) == count
    assert set(found.tolist()) <= set(current_model().hashes.tolist())


def test_longest_form_of_the_lexicon_is_one_concept() -> None:
    forms = lexicon().forms

    found = analyse("do not call list")

    assert {"do_not", "do_not_call"} <= forms.keys()
    assert found.concepts == (forms["do_not_call_list"][0],)


def test_words_do_not_include_the_courtesies() -> None:
    found = analyse("Hi! Please, stop texting me!!! Thanks.")

    assert (found.words, found.folded) == (("stop", "texting", "me"), " stop texting me ")


def test_reading_names_the_words_with_the_largest_weight() -> None:
    reading = read_reply("Hi Sam. Please STOP texting me about my house!")

    assert reading.wording is not None
    assert "stop" in reading.wording.split()


def weighed(text: str, *, output: str) -> list[tuple[str, float]]:
    """Return the words of a reply with their weights for one output of the model, largest first.

    Punctuation is left out.
    """
    scores = score_replies(current_model(), [analyse(text)], [Context()])
    return [pair for pair in weighed_words(scores, 0, output=output) if pair[0][0].isalnum()]


def test_reading_names_up_to_three_words_that_add_most() -> None:
    readings = {text: read_reply(text) for text in opted_out()[:100]}

    named = {
        text: set((reading.wording or "").split())
        for text, reading in readings.items()
        if reading.decided_by is DecidedBy.MODEL
    }

    assert len(named) > 50
    assert named == {
        text: {word for word, part in weighed(text, output="asks_to_stop")[:3] if part > 0}
        for text in named
    }


def test_held_reply_names_its_heaviest_word_even_if_no_word_adds() -> None:
    text = "Tuesday works \u26d4"

    reading = read_reply(text)

    (heaviest, part), *_ = weighed(text, output="needs_a_person")
    assert part < 0
    assert (reading.kind, reading.wording) == (ReplyKind.DOUBTFUL, heaviest)


def test_text_without_words_does_not_change_the_weights_of_others() -> None:
    analyses = [analyse(text) for text in ("stop texting me", "", "stop texting me")]

    scores = score_replies(current_model(), analyses, [Context()] * 3)

    first, second = (weighed_words(scores, place, output="asks_to_stop") for place in (0, 2))
    assert dict(first) == pytest.approx(dict(second))


def test_reading_proposes_a_class() -> None:
    texts = {
        "Yes, I would like a free look, when can you come?": ReplyClass.INTERESTED,
        "take me off your list": ReplyClass.STOP,
        "wrong number": ReplyClass.WRONG_NUMBER,
        "how much does it cost?": ReplyClass.QUESTION,
    }

    assert {text: read_reply(text).reply_class for text in texts} == texts


@pytest.mark.parametrize(
    ("asks_to_stop", "needs_a_person", "kind"),
    [
        (0.5, 0.5, ReplyKind.OPT_OUT),
        (0.49, 0.2, ReplyKind.DOUBTFUL),
        (0.49, 0.19, ReplyKind.NONE),
    ],
)
def test_probability_at_the_threshold_is_enough(
    asks_to_stop: float, needs_a_person: float, kind: ReplyKind
) -> None:
    assert (
        decide("Not interested.", asks_to_stop, needs_a_person, opt_out_at=0.5, hold_at=0.2) is kind
    )


def test_probabilities_are_between_0_and_1() -> None:
    texts = [one.text for one in REGRESSION]

    found = score_replies(
        current_model(), [analyse(text) for text in texts], [Context()] * len(texts)
    ).probabilities

    assert 0 < found.min() < 0.01
    assert 0.99 < found.max() < 1


def test_old_reply_with_a_request_concerns_consent() -> None:
    texts = ["Tuesday at 9 works", "take me off your list", "STOP", "START", "Tuesday at 9 works"]

    first, *others, last = read_past_replies(texts)

    assert first == last == read_reply(texts[0])
    assert others == [None, None, None]


def test_old_replies_are_read_in_every_context() -> None:
    in_some_contexts = ["still want to hear from you", "calma, não vou te bloquear"]
    texts = [*in_some_contexts, *(one.text for one in REGRESSION)]
    contexts = [Context(), Context(is_sale=True), Context(is_sale=True, is_question=True)]
    readings = [read_replies(texts, [one] * len(texts)) for one in contexts]

    found = read_past_replies(texts)

    harmless = [
        {one.kind for one in kinds} == {ReplyKind.NONE} for kinds in zip(*readings, strict=True)
    ]
    assert [one is not None for one in found] == harmless
    assert [one.kind for one in readings[0][:2]] == [ReplyKind.NONE] * 2
    assert harmless[:2] == [False, False]
    assert any(harmless)


def test_model_is_small_and_names_its_data() -> None:
    facts = current_model().facts

    assert facts["data_sha256"] == data.digest()
    assert facts["texts"] == len(data.load())
