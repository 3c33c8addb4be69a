"""The reply class that the reader proposes for a reply, and the source of the proposal."""

import pytest
from tests.opt_out import data

from crm_api.domain.consent.reply_reader import class_rules, keywords
from crm_api.domain.consent.reply_reader.analysis import analyse
from crm_api.domain.consent.reply_reader.reader import (
    NO_CONTEXT,
    ReplyKind,
    read_replies,
    read_reply,
)
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass, ReplyClassSource

RULE, MODEL = ReplyClassSource.RULE, ReplyClassSource.MODEL


@pytest.mark.parametrize(
    ("text", "reply_class", "source"),
    [
        ("STOP", ReplyClass.STOP, RULE),
        ("Please take me off your list", ReplyClass.STOP, MODEL),
        ("Por favor no me escriban m\u00e1s", ReplyClass.STOP, MODEL),
        ("I am interested!", ReplyClass.INTERESTED, RULE),
        ("Hi, yes please", ReplyClass.INTERESTED, RULE),
        ("S\u00ed, me interesa. Gracias", ReplyClass.INTERESTED, RULE),
        ("Tenho interesse", ReplyClass.INTERESTED, RULE),
        ("\u00c7a m'int\u00e9resse", ReplyClass.INTERESTED, RULE),
        ("Can you send me a quote?", ReplyClass.INTERESTED, RULE),
        ("Yes, I would like a free look, when can you come?", ReplyClass.INTERESTED, MODEL),
        ("No, thank you", ReplyClass.NOT_INTERESTED, RULE),
        ("No gracias", ReplyClass.NOT_INTERESTED, RULE),
        ("We had it done last summer, no need", ReplyClass.NOT_INTERESTED, MODEL),
        ("Maybe next year", ReplyClass.LATER, RULE),
        ("Ahorita no", ReplyClass.LATER, RULE),
        ("Try me again in spring, we are away until then", ReplyClass.LATER, MODEL),
        ("how much does it cost?", ReplyClass.QUESTION, MODEL),
        ("\u00bfQui\u00e9n es?", ReplyClass.QUESTION, RULE),
        ("Can you match another quote? Thanks!", ReplyClass.QUESTION, MODEL),
        ("Wrong number", ReplyClass.WRONG_NUMBER, RULE),
        ("n\u00famero equivocado", ReplyClass.WRONG_NUMBER, RULE),
        ("You have the wrong number, no Steve here", ReplyClass.WRONG_NUMBER, MODEL),
        ("Thanks", ReplyClass.OTHER, RULE),
        ("HELP", ReplyClass.OTHER, RULE),
        ("", ReplyClass.OTHER, RULE),
        ("Key is under the mat", ReplyClass.OTHER, MODEL),
    ],
)
def test_class_is_proposed_with_its_source(
    text: str, reply_class: ReplyClass, source: ReplyClassSource
) -> None:
    reading = read_reply(text)

    assert (reading.reply_class, reading.class_by) == (reply_class, source)


def test_stop_is_proposed_exactly_for_opt_outs() -> None:
    texts = [one.text for one in data.load()]

    readings = read_replies(texts, [NO_CONTEXT] * len(texts))

    assert all(
        (one.reply_class is ReplyClass.STOP) == (one.kind is ReplyKind.OPT_OUT) for one in readings
    )


def test_no_listed_phrase_opts_out() -> None:
    assert not class_rules.PHRASES.keys() & keywords.OPT_OUT
    assert {read_reply(phrase).kind for phrase in class_rules.PHRASES} <= {
        ReplyKind.NONE,
        ReplyKind.DOUBTFUL,
    }


def test_every_listed_phrase_is_found_as_written() -> None:
    assert [
        phrase
        for phrase, one in class_rules.PHRASES.items()
        if class_rules.class_by_phrase(analyse(phrase)) is not one
    ] == []
