"""Turn a search text into LIKE patterns for ``contact.search_text``.

``search_text`` has no accents and no capitals, and a space before each word. To use its index of
trigrams, a pattern must contain three letters or digits in a row, or the beginning of a word.
"""

import re
import unicodedata

from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.people.contacts.errors import UnsearchableError

_LABEL = re.compile(r"\s*[A-Za-z]+\s*[:.#=]\s*")
_PHONE_LIKE = re.compile(r"[0-9+().\-/\s]+")
_LEADING_SIGNS = re.compile(r"^[\W_]+")
_TRIGRAM = re.compile(r"[^\W_]{3}")
_WILDCARD = re.compile(r"([\\%_])")
_FEWEST_DIGITS = 3
_MOST_WORDS = 10
_MARKS = dict.fromkeys(range(0x300, 0x370))
_LETTERS = str.maketrans("łøđðħı", "loddhi", "'\u2018\u2019\u02bc") | {
    ord("ß"): "ss",
    ord("æ"): "ae",
    ord("œ"): "oe",
}


def fold(text: str) -> str:
    """Remove accents and apostrophes, and convert to lower case, as ``search_fold`` in SQL does."""
    bare = unicodedata.normalize("NFKD", text).translate(_MARKS)
    # The letters are converted one by one. ``lower`` of a whole word would convert a Greek capital
    # sigma at the end of the word to the special final form of the letter.
    return "".join(letter.lower() for letter in bare).translate(_LETTERS)


def search_patterns(text: str) -> list[list[str]]:
    """Split a search text into terms, and return the LIKE patterns of each term.

    A contact matches if, for every term, at least one pattern of the term matches. A text that is a
    phone number, or a part of one, is one term. In other texts, each word is a term, and words
    after the tenth are ignored. One or two letters match only the beginning of a word (``% jo%``).

    Raises:
        UnsearchableError: The text is not empty but has no letter and no digit.
    """
    words = text.split()[:_MOST_WORDS]
    if not words:
        return []
    digits = _digits(text)
    terms = [[digits]] if digits is not None else [_forms(word) for word in words]
    patterns = [
        list(dict.fromkeys(pattern for form in term for pattern in _patterns(form)))
        for term in terms
    ]
    found = [term for term in patterns if term]
    if not found:
        raise UnsearchableError
    return found


def _patterns(form: str) -> list[str]:
    term = fold(form)
    if _TRIGRAM.search(term):
        return [f"%{_escape(term)}%"]
    start = _LEADING_SIGNS.sub("", term)
    if not start:
        return []
    beginning = f"% {_escape(start)}%"
    return [beginning, f"% +1{start}%"] if start.isdecimal() else [beginning]


def _escape(term: str) -> str:
    return _WILDCARD.sub(r"\\\1", term)


def _forms(word: str) -> list[str]:
    digits = _digits(word)
    return [word] if digits is None or digits == word else [word, digits]


def _digits(text: str) -> str | None:
    """Return the digits of a text that looks like a whole or partial phone number, else None."""
    number = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
    if len(text.split()) == 1 or _PHONE_LIKE.fullmatch(number):
        try:
            return parse_phone(number).removeprefix("+")
        except InvalidPhoneError:
            pass
    digits = re.sub(r"[^0-9]", "", number)
    if not _PHONE_LIKE.fullmatch(number) or len(digits) < _FEWEST_DIGITS:
        return None
    return digits
