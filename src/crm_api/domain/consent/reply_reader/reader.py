"""Read replies: find out whether a person asks for no more messages, and what kind of reply it is.

A courtesy (such as "thank you") or a reaction to our message changes nothing. If the person wrote
words after a reaction, only these words are read. If the whole reply is a keyword, the keyword
decides. The trained model decides about all other replies.
``docs/explanation/reply-reading.md`` shows how often the reader is right.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from crm_api.domain.consent.reply_reader import class_rules, keywords
from crm_api.domain.consent.reply_reader.analysis import (
    COURTESIES,
    Analysis,
    Context,
    analyse,
)
from crm_api.domain.consent.reply_reader.reply_classes import (
    CLASSES,
    ReplyClass,
    ReplyClassSource,
)

if TYPE_CHECKING:
    from crm_api.domain.consent.reply_reader.classifier import Scores

NO_CONTEXT = Context()
WORDS_SHOWN = 3
"""The largest number of words that a reading shows. They are the words with the highest weight."""

CLASS_AT = 0.4
"""A class other than ``other`` is proposed if its probability is at least this value.

The value was chosen with the same replies that are used to measure the classes. So the measured
rates of the classes may be slightly too good.
"""

_REACTION = re.compile(
    r"\s*(?:liked|loved|disliked|laughed at|emphasi[sz]ed|questioned|reacted .{1,40} to"
    r"|removed an? .{1,40} from|le gust[o\u00f3]|le encant[o\u00f3]|no le gust[o\u00f3]"
    r"|a .{1,40} le gust[o\u00f3]|[^\w\s]{1,12} to)\s+"
    r"(?:\u201c(?:[^\u201c\u201d]|\u201c[^\u201c\u201d]*\u201d)*\u201d|\u00ab[^\u00ab\u00bb]*\u00bb"
    r"|\".*\"(?=\W*$)|\".*?\"|[\u2018'].*[\u2019'](?=\W*$)|[\u2018'].*?[\u2019'](?!\w))",
    re.IGNORECASE | re.DOTALL,
)
"""Regular expression for a reaction that a phone sends as text, such as ``Liked "…"``. The quoted
words are from our message. The quotation ends at the last quotation mark if no words follow that
mark. If words follow, it ends at the first one."""
_WORD = re.compile(r"\w")
_PICTURES = re.compile("[\U0001f6d1\u26d4\U0001f6ab\U0001f595]")
"""Emoji: stop signs and a middle finger. If the model reads a reply with one of them, the result is
at least doubtful."""


class ReplyKind(StrEnum):
    """What a reply means for consent."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HELP = "help"
    DOUBTFUL = "doubtful"
    """The person may ask for no more messages, so the number is put on hold."""
    NONE = "none"
    """The reply changes nothing."""


class DecidedBy(StrEnum):
    """Which part of the reply reader decided what a reply means."""

    COURTESY = "courtesy"
    """The reply is empty, or consists only of thanks, greetings or "please"."""
    REACTION = "reaction"
    """The reply is a reaction to our message, such as a "like"."""
    KEYWORD = "keyword"
    """The whole reply is a keyword, such as "STOP"."""
    MODEL = "model"
    """The trained model decided."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reply means, and why the reader thinks so.

    Attributes:
        kind: What the reply means for consent.
        reply_class: The proposed class. It is ``stop`` for every opt-out, and for no other reply.
        class_by: Whether the model or a rule proposed the class.
        decided_by: Which part of the reader decided.
        wording: The keyword, or the words with the highest weight, in order. None if the reply
            changes nothing.
        provider_confirms: True if the provider confirms this opt-out. This service must not confirm
            it again.
        asks_to_stop: The probability that the person asks us to stop, from 0 to 1.
        needs_a_person: The probability that the reply is an opt-out or doubtful, from 0 to 1.
        language: The language that the reader assumed.
    """

    kind: ReplyKind
    reply_class: ReplyClass
    class_by: ReplyClassSource = ReplyClassSource.RULE
    decided_by: DecidedBy
    wording: str | None = None
    provider_confirms: bool = False
    asks_to_stop: float = 0.0
    needs_a_person: float = 0.0
    language: str = "en"

    def evidence(self) -> dict[str, Any]:
        """Return the facts that explain how this reply was understood.

        They are stored in the consent history:

        - the meaning of the reply
        - which part of the reply reader decided
        - the words that decided
        - the probabilities and the thresholds
        - an id of the model
        """
        from crm_api.domain.consent.reply_reader.classifier import current_model  # noqa: PLC0415 - as below

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
    """Read one reply. Any text can be read, also an empty one."""
    return read_replies([text], [context])[0]


def read_replies(texts: Sequence[str], contexts: Sequence[Context]) -> list[Reading]:
    """Read several replies; return one result for each reply, in the order of the replies.

    Reading many replies together takes about half as long as reading them one by one.
    """
    return _read(texts, [analyse(text) for text in texts], contexts)


def _read(
    texts: Sequence[str], analyses: Sequence[Analysis], contexts: Sequence[Context]
) -> list[Reading]:
    # numpy, which the model needs, takes 11 MB of memory. It is imported here, so that a process
    # that reads no replies, such as the API, does not load it.
    from crm_api.domain.consent.reply_reader.classifier import current_model, score_replies  # noqa: PLC0415 - as above

    own = {index: words for index, text in enumerate(texts) if (words := _own_words(text))}
    texts = [own.get(index, text) for index, text in enumerate(texts)]
    analyses = [analyse(own[i]) if i in own else one for i, one in enumerate(analyses)]
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
    found = [reading for reading in readings.values() if reading is not None]
    # The provider reads the reaction too, so it does not see a keyword.
    return [
        replace(one, provider_confirms=False) if i in own else one for i, one in enumerate(found)
    ]


def _own_words(text: str) -> str | None:
    """Return what the person wrote after a reaction to our message; None if there is nothing."""
    reaction = _REACTION.match(text)
    after = text[reaction.end() :] if reaction else ""
    return after if _WORD.search(after) or _PICTURES.search(after) else None


_AT_ONCE = 25
"""The number of replies per batch. A larger batch needs megabytes of memory and saves no time."""


def read_past_replies(texts: Sequence[str]) -> list[Reading | None]:
    """Read replies whose conversations are not known.

    Equal replies are read once. A reply is read in up to three contexts:

    - without a context
    - as a reply to a message that an employee wrote
    - as a reply to a question that an employee wrote

    Returns:
        One item for each reply. If the reply has the kind ``ReplyKind.NONE`` in all contexts, the
        item is its reading without a context. If not, the item is None.
    """
    analyses = {text: analyse(text) for text in texts}
    found = _read_in(NO_CONTEXT, list(analyses), analyses)
    for context in (Context(is_sale=True), Context(is_sale=True, is_question=True)):
        left = [
            text
            for text, reading in found.items()
            if reading.kind is ReplyKind.NONE and reading.decided_by is DecidedBy.MODEL
        ]
        others = _read_in(context, left, analyses)
        found |= {text: one for text, one in others.items() if one.kind is not ReplyKind.NONE}
    harmless = {text: one for text, one in found.items() if one.kind is ReplyKind.NONE}
    return [harmless.get(text) for text in texts]


def _read_in(
    context: Context, texts: Sequence[str], analyses: Mapping[str, Analysis]
) -> dict[str, Reading]:
    readings = _read(texts, [analyses[text] for text in texts], [context] * len(texts))
    return dict(zip(texts, readings, strict=True))


def decide(text: str, asks: float, doubts: float, opt_out_at: float, hold_at: float) -> ReplyKind:
    """Decide whether a reply is an opt-out, puts the number on hold, or does neither.

    If the words alone make the meaning certain, the probabilities are ignored. If not, the
    probabilities decide. There is one exception: a reply with a stop-sign emoji always has an
    effect. If the probabilities do not make it an opt-out, it puts the number on hold.

    Args:
        asks: The probability that the person asks us to stop.
        doubts: The probability that the reply is an opt-out or doubtful.
        opt_out_at: The reply is an opt-out if ``asks`` is not below this.
        hold_at: The reply puts the number on hold if ``doubts`` is not below this.
    """
    text = _own_words(text) or text
    certain = _read_certain(text, analyse(text))
    return certain.kind if certain else _decide(text, asks, doubts, opt_out_at, hold_at)


def _decide(text: str, asks: float, doubts: float, opt_out_at: float, hold_at: float) -> ReplyKind:
    if asks >= opt_out_at:
        return ReplyKind.OPT_OUT
    if doubts >= hold_at or _PICTURES.search(text):
        return ReplyKind.DOUBTFUL
    return ReplyKind.NONE


def _read_by_model(text: str, scores: "Scores", row: int) -> Reading:
    from crm_api.domain.consent.reply_reader.classifier import current_model, weighed_words  # noqa: PLC0415 - as above

    model = current_model()
    analysis = scores.analyses[row]
    asks, doubts, *classes = scores.probabilities[row].tolist()
    kind = _decide(text, asks, doubts, model.opt_out_at, model.hold_at)
    wording = None
    if kind is not ReplyKind.NONE:
        output = "asks_to_stop" if kind is ReplyKind.OPT_OUT else "needs_a_person"
        wording = _wording(analysis, weighed_words(scores, row, output=output))
    reply_class, class_by = propose_class(kind, analysis, classes)
    return Reading(
        kind=kind,
        reply_class=reply_class,
        class_by=class_by,
        decided_by=DecidedBy.MODEL,
        wording=wording,
        asks_to_stop=round(asks, 4),
        needs_a_person=round(doubts, 4),
        language=analysis.language,
    )


def propose_class(
    kind: ReplyKind, analysis: Analysis, probabilities: Sequence[float]
) -> tuple[ReplyClass, ReplyClassSource]:
    """Return the proposed class of a reply, and whether the model or a rule proposed it.

    The class is ``stop`` if ``kind`` is an opt-out. Other replies never get this class. The class
    is ``other`` if no other class is probable.
    """
    if kind is ReplyKind.OPT_OUT:
        return ReplyClass.STOP, ReplyClassSource.MODEL
    by_phrase = class_rules.class_by_phrase(analysis)
    if by_phrase is not None:
        return by_phrase, ReplyClassSource.RULE
    others = {
        one: probability
        for one, probability in zip(CLASSES, probabilities, strict=True)
        if one is not ReplyClass.STOP
    }
    best = max(others, key=lambda one: others[one])
    if best is not ReplyClass.OTHER and others[best] >= CLASS_AT:
        return best, ReplyClassSource.MODEL
    if class_rules.is_question(analysis):
        return ReplyClass.QUESTION, ReplyClassSource.RULE
    return ReplyClass.OTHER, ReplyClassSource.MODEL


def _with_ends(reading: Reading, text: str, context: Context) -> Reading:
    """Check the beginning and the end of a long reply that seems to change nothing.

    In a long reply, many other words can hide a request to stop. So the beginning and the end are
    also read separately. If one of them is an opt-out, the kind of the reply becomes ``doubtful``,
    which puts the number on hold.
    """
    if reading.kind is not ReplyKind.NONE or len(text) <= _LONG:
        return reading
    ends = (text[:_END].rpartition(" ")[0], text[-_END:].partition(" ")[2])
    for end in read_replies(ends, [context, context]):
        if end.kind is ReplyKind.OPT_OUT:
            return replace(reading, kind=ReplyKind.DOUBTFUL, wording=end.wording)
    return reading


_LONG = 300
"""A reply with more characters than this is long."""
_END = 100
"""The number of characters at the beginning and at the end of a long reply that are also read
separately."""


def _read_certain(text: str, analysis: Analysis) -> Reading | None:
    """Read a reply that needs no model: a courtesy ("thanks"), a reaction to a message, a keyword.

    The result is None for all other replies.
    """
    says_nothing = COURTESIES.issuperset(analysis.words)
    if says_nothing or _REACTION.match(text):
        decided_by = DecidedBy.COURTESY if says_nothing else DecidedBy.REACTION
        return Reading(kind=ReplyKind.NONE, reply_class=ReplyClass.OTHER, decided_by=decided_by)
    word = keywords.only_word(analysis.whole)
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
    """Return up to ``WORDS_SHOWN`` words with the highest weight, in the order of the reply."""
    words = [(word, part) for word, part in weighed if word[0].isalnum()] or weighed
    shown = {word for word, part in words[:WORDS_SHOWN] if part > 0} or {words[0][0]}
    return " ".join(word for word in analysis.words if word in shown)
