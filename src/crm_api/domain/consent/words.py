"""What an incoming text says about consent.

Read in three steps: the whole text is one of the exact words; else its cues are weighed, phrases
that are clear by themselves and weaker ones that add up. A sum that is clear opts out at once, in
English and Spanish, by any wording that a reasonable person reads so; below that a person is asked.
A word amid a sentence means nothing by itself ("Can you stop by tomorrow?"), and ``yes`` is no
opt-in. docs/opt-out.md has the figures.

Source: 47 CFR 64.1200(a)(10), read 2026-11-24; Quo, "Opt-out", for the words that the provider
answers itself, read 2026-11-24.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from crm_api.domain.consent import phrases, quotes
from crm_api.domain.consent.vocabulary import PAUSE, QUESTION, is_request, sign_of

PROVIDER_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
"""A text that is one of these and nothing else is answered by the provider."""
LONGEST_READ = 2000
"""Characters; of a longer text, which no telephone sends, the middle is not read."""
_HALF = LONGEST_READ // 2
LONGEST_APART = 16
"""Characters of a key word with gaps in it."""

_SPACES = re.compile(r"[^\S\n\r]+")
_SPELLED = re.compile(r"(?<![a-z0-9])(?:[a-z][ .\-_*]{1,3}){2,}[a-z](?![a-z0-9])")
_TOKEN = re.compile(
    r"[a-z0-9$@+]+(?:\*+[a-z]+)?|#(?![a-z0-9])"
    r"|[.!?;:,\n\r()/|\u2026\u2013\u2014]+|(?<=\s)-+(?=\s)"
)
_APOSTROPHES = re.compile(r"['\u2019\u2018\u02bc`\u00b4]")
_MARKS = re.compile(
    "[\u0300-\u036f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]"
)
"""What is left of an accent once it is apart from its letter, and characters without a shape."""
_PAUSES = frozenset(".!?;:,\n\r()/|\u2026\u2013\u2014-")
_NO_PAUSES = re.compile("[.?]")
_PICTURES = re.compile("[\U0001f6d1\u26d4\U0001f6ab\U0001f595]")
"""Stop signs and a finger: doubtful where no word says more."""


class Kind(StrEnum):
    """What a text means for consent."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    HELP = "help"
    DOUBTFUL = "doubtful"
    NONE = "none"


WORDS = {
    **dict.fromkeys(("start", "unstop"), Kind.OPT_IN),
    **dict.fromkeys(("help", "info", "ayuda"), Kind.HELP),
}
"""A text that is one of these and nothing else."""


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
    shown = text if len(text) <= LONGEST_READ else f"{text[:_HALF]}\n{text[-_HALF:]}"
    plain = _fold(shown)
    if quotes.REACTION.match(plain):
        return Reading(Kind.NONE)
    words, signs, places = _signs(plain)
    whole = " ".join(word for word in words if word)
    if whole in WORDS:
        return Reading(WORDS[whole], whole)
    if _is_whole(whole, signs):
        return Reading(Kind.OPT_OUT, whole, text.strip().upper() in PROVIDER_WORDS)
    score, (begin, end) = _weigh(signs)
    if score >= phrases.DOUBTFUL:
        wording = " ".join(filter(None, words[places[begin] : places[end - 1] + 1]))
        return Reading(Kind.OPT_OUT if score >= phrases.CLEAR else Kind.DOUBTFUL, wording)
    picture = _PICTURES.search(shown)
    return Reading(Kind.DOUBTFUL, picture.group()) if picture else Reading(Kind.NONE)


def _fold(text: str) -> str:
    """Lower case, without accents; letters spelled apart come together."""
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return _SPELLED.sub(_join_letters, _SPACES.sub(" ", text.casefold()))


def _join_letters(found: re.Match[str]) -> str:
    word = "".join(one for one in found.group() if one.isalpha())
    return word if is_request(word) else found.group()


def _signs(plain: str) -> tuple[list[str], str, list[int]]:
    """Take a text apart.

    Returns:
        Its words, with an empty one for each pause; their signs; and for each sign the place of
        its word.
    """
    plain = quotes.SET_PHRASES.sub(",", _APOSTROPHES.sub("", plain))
    words = [""]
    signs = [PAUSE]
    places = [0]
    for token in _TOKEN.findall(plain):
        if token[0] in _PAUSES:
            sign = QUESTION if "?" in token else PAUSE
            if signs[-1] in (PAUSE, QUESTION):
                continue
            words.append("")
        else:
            sign = sign_of(token)
            words.append(token)
        if sign:
            signs.append(sign)
            places.append(len(words) - 1)
    if signs[-1] not in (PAUSE, QUESTION):
        signs.append(PAUSE)
        places.append(len(words) - 1)
    return words, "".join(signs), places


def _is_whole(whole: str, signs: str) -> bool:
    """Say whether the text is a request and nothing else, also one with a gap in its word."""
    if whole in phrases.WHOLE_WORDS or (" " not in whole and phrases.LONE.match(signs)):
        return True
    if " " in whole and len(whole) <= LONGEST_APART and is_request(whole.replace(" ", "")):
        return True
    return phrases.WHOLE.fullmatch(_NO_PAUSES.sub("", signs)) is not None


def _weigh(signs: str) -> tuple[int, tuple[int, int]]:
    """Return the sum of the cues in a text, and where the heaviest is."""
    score = heaviest = 0
    span = (0, 1)
    present = set(signs)
    for needed, cues in phrases.CUES:
        if needed.isdisjoint(present):
            continue
        for cue in cues:
            if found := cue.pattern.search(signs):
                score += cue.weight
                if cue.weight > heaviest:
                    heaviest, span = cue.weight, found.span()
    if score >= phrases.CLEAR and any(limit.search(signs) for limit in phrases.LIMITS):
        score = phrases.DOUBTFUL
    return score, span
