"""What somebody who looks for a contact may have meant by a text, as patterns for LIKE.

The text that is searched has been folded by ``search_fold``, its words stand behind a space each,
and trigrams index it. A trigram needs three letters or digits in a row, or the beginning of a
word; whatever has neither cannot be looked up, and is never searched for.
"""

import re
import unicodedata

from crm_api.domain.contacts.errors import UnsearchableError
from crm_api.domain.phone import InvalidPhoneError, parse_phone

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
    """Leave out accents, apostrophes and capitals, as ``search_fold`` in the database does."""
    bare = unicodedata.normalize("NFKD", text).translate(_MARKS)
    # Letter by letter, since a final sigma must not be another letter than any sigma.
    return "".join(letter.lower() for letter in bare).translate(_LETTERS)


def search_patterns(text: str) -> list[list[str]]:
    """Take a search apart: every term must occur, in any one of its writings.

    ``(617) 555-0123`` is one term, written ``%16175550123%``; ``rossi 617-555`` is two, the second
    written ``%617-555%`` or ``%617555%``. Shorter ones are the beginning of a word: ``jo`` is
    ``% jo%``. Nothing searched gives no term. Further words than the tenth are ignored.

    Raises:
        UnsearchableError: Something is searched, but it has neither letters nor digits.
    """
    words = text.split()[:_MOST_WORDS]
    if not words:
        return []
    digits = _digits(text)
    terms = [[digits]] if digits is not None else [_writings(word) for word in words]
    patterns = [
        list(dict.fromkeys(pattern for writing in term for pattern in _patterns(writing)))
        for term in terms
    ]
    found = [term for term in patterns if term]
    if not found:
        raise UnsearchableError("Search for something with a letter or a digit in it.")
    return found


def _patterns(writing: str) -> list[str]:
    term = fold(writing)
    if _TRIGRAM.search(term):
        return [f"%{_escape(term)}%"]
    start = _LEADING_SIGNS.sub("", term)
    if not start:
        return []
    beginning = f"% {_escape(start)}%"
    return [beginning, f"% +1{start}%"] if start.isdecimal() else [beginning]


def _escape(term: str) -> str:
    return _WILDCARD.sub(r"\\\1", term)


def _writings(word: str) -> list[str]:
    digits = _digits(word)
    return [word] if digits is None or digits == word else [word, digits]


def _digits(text: str) -> str | None:
    """The digits of what looks like a number or a part of one; None for anything else."""
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
