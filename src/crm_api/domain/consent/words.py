"""What an incoming text says about consent.

Clear words opt out at once, in English and Spanish, by any wording that a reasonable person reads
so. A text that may or may not mean it is doubtful: a person decides. A word amid a sentence means
nothing by itself ("Can you stop by tomorrow?"), and ``yes`` is no opt-in.

Source: 47 CFR 64.1200(a)(10), read 2026-11-24; Quo, "Opt-out", for the words that the provider
answers itself, read 2026-11-24.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from crm_api.domain.consent import phrases

PROVIDER_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
"""A text that is one of these and nothing else is answered by the provider."""
OPT_IN_WORDS = frozenset({"start", "unstop"})
HELP_WORDS = frozenset({"help", "info", "ayuda"})
LONGEST_READ = 2000
"""Characters; what comes later in a text is not read."""

_SPELLED = re.compile(r"(?<![a-z0-9])(?:[a-z][ .\-_*]{1,3}){2,}[a-z](?![a-z0-9])")
_CLAUSE_END = re.compile(r"[.!?;:,\n\r()/|\u2026]+| [-\u2013\u2014]+ |[\u2013\u2014]")
_WORD = re.compile(r"[a-z0-9]+")
_APOSTROPHES = re.compile(r"['\u2019\u2018\u02bc`\u00b4]")
_REPEATED = re.compile(r"\b(\w+)(?: \1\b)+")
_STOP_SIGN = "\U0001f6d1"


class Kind(StrEnum):
    """What a text means for consent."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HELP = "help"
    DOUBTFUL = "doubtful"
    NONE = "none"


@dataclass(frozen=True)
class Reading:
    """What a text means.

    Attributes:
        wording: What in it says so, folded; None when nothing does.
        provider_confirms: The provider answers this opt-out itself, so that no second confirmation
            may be sent.
    """

    kind: Kind
    wording: str | None = None
    provider_confirms: bool = False


def read(text: str) -> Reading:
    """Read what a text says about consent.

    Case, accents, punctuation, quotes, emoji and spacing around words do not matter.
    """
    if phrases.REACTION.match(_unaccented(text[:LONGEST_READ])):
        return Reading(Kind.NONE)
    folded = phrases.INSTRUCTION.sub(" ", _fold(text[:LONGEST_READ]))
    clauses = [_words(part) for part in _CLAUSE_END.split(folded)]
    clauses = [clause for clause in clauses if clause]
    whole = " ".join(clauses)
    if whole in OPT_IN_WORDS:
        return Reading(Kind.OPT_IN, whole)
    if whole in HELP_WORDS:
        return Reading(Kind.HELP, whole)
    wording = _exact(whole) or _clear(clauses, whole)
    if wording is not None:
        return Reading(Kind.OPT_OUT, wording, text.strip().upper() in PROVIDER_WORDS)
    doubt = _doubtful(clauses, whole, is_question=text.rstrip().endswith("?"))
    if doubt is None and not whole and _STOP_SIGN in text:
        doubt = _STOP_SIGN
    return Reading(Kind.NONE) if doubt is None else Reading(Kind.DOUBTFUL, doubt)


def _unaccented(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(one for one in decomposed if unicodedata.category(one) not in {"Mn", "Cf"})


def _fold(text: str) -> str:
    """Lower case, without accents and apostrophes; letters spelled apart come together."""
    plain = _APOSTROPHES.sub("", _unaccented(text).casefold())
    return _SPELLED.sub(_join_letters, plain)


def _join_letters(found: re.Match[str]) -> str:
    word = "".join(_WORD.findall(found.group()))
    return word if word in phrases.EXACT else found.group()


def _words(text: str) -> str:
    return _REPEATED.sub(r"\1", " ".join(_WORD.findall(text)))


def _core(clause: str) -> str:
    """The clause without the courtesies around it."""
    words = clause.split()
    while words and words[0] in phrases.COURTESIES:
        words.pop(0)
    while words and words[-1] in phrases.COURTESIES:
        words.pop()
    return " ".join(words)


def _exact(whole: str) -> str | None:
    for one in (whole, _core(whole)):
        if one in phrases.EXACT:
            return one
    return None


def _clear(clauses: list[str], whole: str) -> str | None:
    for clause in clauses:
        if _core(clause) in phrases.SURE:
            return _core(clause)
        for pattern in phrases.WISHES:
            if found := pattern.search(clause):
                return found.group().strip()
        for pattern in phrases.CLEAR:
            found = pattern.search(clause)
            if found and not phrases.NEGATED.search(clause[: found.start()]):
                return found.group().strip()
        verb = phrases.OPT_OUT_VERB.search(clause)
        if (
            verb
            and not phrases.NEGATED.search(clause[: verb.start()])
            and not phrases.ASKED_ABOUT.search(clause)
        ):
            return verb.group()
        forbidden = _forbidden(clause, whole)
        if forbidden is not None and forbidden.kind is Kind.OPT_OUT:
            return forbidden.wording
    return None


def _forbidden(clause: str, whole: str) -> Reading | None:
    """Read "do not text me" and the like; None when the clause says nothing so."""
    found = phrases.DO_NOT.search(clause)
    if found is None or re.search(
        r"\b(?:i|we|they|you|u|he|she|if|also) $", clause[: found.start()]
    ):
        return None
    kind = _kind_of_ban(found["verb"], found["rest"], whole)
    return None if kind is Kind.NONE else Reading(kind, found.group().strip())


def _kind_of_ban(verb: str, rest: str, whole: str) -> Kind:
    is_for_good = phrases.FOR_GOOD.search(rest) is not None
    if verb == "send":
        return _unless_for_a_time(rest) if phrases.THINGS_SENT.search(rest) else Kind.NONE
    if verb in {"call", "email", "write"} and not is_for_good:
        # "Do not call, text me" is the opposite of an opt-out.
        says_text = phrases.TEXT_INSTEAD.search(whole) or re.search(r"\btext\b", whole)
        return Kind.NONE if says_text else Kind.DOUBTFUL
    if phrases.NOT_NOW.match(rest) or phrases.SOMEBODY_ELSE.match(rest):
        return Kind.DOUBTFUL
    if not rest.strip() or is_for_good or phrases.OBJECT.match(rest):
        return _unless_for_a_time(rest)
    return Kind.NONE


def _unless_for_a_time(rest: str) -> Kind:
    return Kind.DOUBTFUL if phrases.FOR_A_TIME.search(rest) else Kind.OPT_OUT


def _doubtful(clauses: list[str], whole: str, *, is_question: bool) -> str | None:
    for clause in clauses:
        if _core(clause) in phrases.UNSURE:
            return _core(clause)
        forbidden = _forbidden(clause, whole)
        if forbidden is not None:
            return forbidden.wording
        verb = phrases.OPT_OUT_VERB.search(clause)
        if verb and not phrases.NEGATED.search(clause[: verb.start()]):
            return verb.group()
        if phrases.BENIGN_STOP.search(clause):
            continue
        for pattern in phrases.DOUBTFUL:
            found = pattern.search(clause)
            if found and not phrases.REFUSED.search(clause[: found.start()]):
                if is_question and "spam" in found.group():
                    continue
                return found.group().strip()
    return None
