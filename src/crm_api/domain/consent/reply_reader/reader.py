"""Read replies: whether a person asks us to stop, or may ask it, and what kind of reply it is.

A reply is read in this order. A courtesy or a reaction to our own message says nothing. A keyword
that is the whole reply decides. The trained model decides everything else, with one threshold for
an opt-out and one for a hold. docs/explanation/reply-reading.md has the measured rates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from crm_api.domain.consent.reply_reader import keywords
from crm_api.domain.consent.reply_reader.analysis import (
    COURTESIES,
    Analysis,
    Context,
    analyse,
)
from crm_api.domain.consent.reply_reader.classifier import (
    CLASSES,
    ReplyClass,
    Scores,
    current_model,
    score_replies,
    weighed_words,
)

NO_CONTEXT = Context()
WORDS_SHOWN = 3
"""The most words that a reading names as the ones with the highest weight."""

_REACTION = re.compile(
    r"^\s*(?:(?:liked|loved|disliked|laughed at|emphasi[sz]ed|questioned|reacted .{1,40} to"
    r"|removed an? .{1,40} from|le gusto|le encanto|no le gusto|a .{1,40} le gusto|\S{1,12} to)"
    r"\s+[\"\u201c\u00ab\u2018'])",
    re.IGNORECASE,
)
"""How phones write a reaction to a message: the quoted words are ours, not the person's."""
_PICTURES = re.compile("[\U0001f6d1\u26d4\U0001f6ab\U0001f595]")
"""Stop signs and a middle finger: the reply is doubtful if its words say no more."""


class ReplyKind(StrEnum):
    """What a reply means for consent."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HELP = "help"
    DOUBTFUL = "doubtful"
    NONE = "none"


class DecidedBy(StrEnum):
    """Which part of the reader decided."""

    COURTESY = "courtesy"
    """The reply is empty, or thanks, a greeting or "please" and nothing else."""
    REACTION = "reaction"
    KEYWORD = "keyword"
    MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reply means.

    Attributes:
        reply_class: The proposed class of the reply.
        decided_by: Which part of the reader decided.
        wording: For an opt-out, an opt-in, HELP and a doubtful reply: the keyword, or the words
            with the highest weight, in the order of the reply. Otherwise None.
        provider_confirms: The provider confirms this opt-out itself: send no second confirmation.
        asks_to_stop: The probability that the person asks us to stop, from 0 to 1.
        needs_a_person: The probability that the person asks or may ask us to stop, from 0 to 1.
        language: The language that the reader assumed.
    """

    kind: ReplyKind
    reply_class: ReplyClass
    decided_by: DecidedBy
    wording: str | None = None
    provider_confirms: bool = False
    asks_to_stop: float = 0.0
    needs_a_person: float = 0.0
    language: str = "en"

    def evidence(self) -> dict[str, Any]:
        """Return what the consent history stores of a reading, so that it can be explained."""
        model = current_model()
        return {
            "kind": self.kind.value,
            "decided_by": self.decided_by.value,
            "words": self.wording,
            "asks_to_stop": self.asks_to_stop,
            "needs_a_person": self.needs_a_person,
            "opt_out_at": model.opt_out_at,
            "hold_at": model.hold_at,
            "model": model.facts["data_sha256"][:12],
        }


def read_reply(text: str, context: Context = NO_CONTEXT) -> Reading:
    """Read one reply; any text has a reading."""
    return read_replies([text], [context])[0]


def read_replies(texts: Sequence[str], contexts: Sequence[Context]) -> list[Reading]:
    """Read replies; results have their order. A batch costs half as much as single calls."""
    analyses = [analyse(text) for text in texts]
    readings = {index: _read_certain(texts[index], one) for index, one in enumerate(analyses)}
    undecided = [index for index, reading in readings.items() if reading is None]
    for start in range(0, len(undecided), _AT_ONCE):
        batch = undecided[start : start + _AT_ONCE]
        scores = score_replies(
            current_model(),
            [analyses[index] for index in batch],
            [contexts[index] for index in batch],
        )
        for row, index in enumerate(batch):
            reading = _read_by_model(texts[index], scores, row)
            readings[index] = _with_ends(reading, texts[index], contexts[index])
    return [reading for reading in readings.values() if reading is not None]


_AT_ONCE = 25
"""Replies per batch. More would use megabytes of memory and save no time."""


def may_concern_consent(texts: Sequence[str]) -> list[bool]:
    """Return for each reply whether it says something about consent in any context."""
    concerns = [False] * len(texts)
    for context in (NO_CONTEXT, Context(is_sale=True), Context(is_sale=True, is_question=True)):
        readings = read_replies(texts, [context] * len(texts))
        concerns = [
            concern or reading.kind is not ReplyKind.NONE
            for concern, reading in zip(concerns, readings, strict=True)
        ]
    return concerns


def decide(text: str, asks: float, doubts: float, opt_out_at: float, hold_at: float) -> ReplyKind:
    """Return what a reply means, for given probabilities and thresholds of the model.

    Args:
        asks: The probability that the person asks us to stop.
        doubts: The probability that the person asks or may ask.
        opt_out_at: The reply opts out from this value of ``asks`` on.
        hold_at: The reply is held from this value of ``doubts`` on.
    """
    certain = _read_certain(text, analyse(text))
    return certain.kind if certain else _decide(text, asks, doubts, opt_out_at, hold_at)


def _decide(text: str, asks: float, doubts: float, opt_out_at: float, hold_at: float) -> ReplyKind:
    if asks >= opt_out_at:
        return ReplyKind.OPT_OUT
    if doubts >= hold_at or _PICTURES.search(text):
        return ReplyKind.DOUBTFUL
    return ReplyKind.NONE


def _read_by_model(text: str, scores: Scores, row: int) -> Reading:
    model = current_model()
    analysis = scores.analyses[row]
    asks, doubts, *classes = scores.probabilities[row].tolist()
    kind = _decide(text, asks, doubts, model.opt_out_at, model.hold_at)
    wording = None
    if kind is not ReplyKind.NONE:
        output = "asks_to_stop" if kind is ReplyKind.OPT_OUT else "needs_a_person"
        wording = _wording(analysis, weighed_words(scores, row, output=output))
    proposed = CLASSES[classes.index(max(classes))]
    return Reading(
        kind=kind,
        reply_class=ReplyClass.STOP if kind is ReplyKind.OPT_OUT else proposed,
        decided_by=DecidedBy.MODEL,
        wording=wording,
        asks_to_stop=round(asks, 4),
        needs_a_person=round(doubts, 4),
        language=analysis.language,
    )


def _with_ends(reading: Reading, text: str, context: Context) -> Reading:
    """Return the reading; hold a long reply if its beginning or its end alone would opt out.

    The model sums over all words, so many words hide the few that ask us to stop.
    """
    if reading.kind is not ReplyKind.NONE or len(text) <= _LONG:
        return reading
    ends = (text[:_END].rpartition(" ")[0], text[-_END:].partition(" ")[2])
    for end in read_replies(ends, [context, context]):
        if end.kind is ReplyKind.OPT_OUT:
            return replace(reading, kind=ReplyKind.DOUBTFUL, wording=end.wording)
    return reading


_LONG = 300
_END = 100
"""Characters."""


def _read_certain(text: str, analysis: Analysis) -> Reading | None:
    """Return the reading of a courtesy, a reaction or a keyword; None if the model must decide."""
    says_nothing = COURTESIES.issuperset(analysis.words)
    if says_nothing or _REACTION.match(text):
        decided_by = DecidedBy.COURTESY if says_nothing else DecidedBy.REACTION
        return Reading(kind=ReplyKind.NONE, reply_class=ReplyClass.OTHER, decided_by=decided_by)
    word = keywords.only_words(analysis.whole)
    for kind, phrases in ((ReplyKind.OPT_IN, keywords.OPT_IN), (ReplyKind.HELP, keywords.HELP)):
        if word in phrases:
            return Reading(
                kind=kind,
                reply_class=ReplyClass.OTHER,
                decided_by=DecidedBy.KEYWORD,
                wording=word,
                language=analysis.language,
            )
    keyword = keywords.keyword_in(analysis.folded)
    if keyword is None:
        return None
    return Reading(
        kind=ReplyKind.OPT_OUT,
        reply_class=ReplyClass.STOP,
        decided_by=DecidedBy.KEYWORD,
        wording=keyword,
        provider_confirms=text.strip().upper() in keywords.PROVIDER_WORDS,
        asks_to_stop=1.0,
        needs_a_person=1.0,
        language=analysis.language,
    )


def _wording(analysis: Analysis, weighed: Sequence[tuple[str, float]]) -> str:
    """Return the words with the highest weight, in the order of the reply."""
    words = [(word, part) for word, part in weighed if word[0].isalnum()] or weighed
    shown = {word for word, part in words[:WORDS_SHOWN] if part > 0} or {words[0][0]}
    return " ".join(word for word in analysis.words if word in shown)
