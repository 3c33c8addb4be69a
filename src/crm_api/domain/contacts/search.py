"""What somebody who looks for a contact may have meant by a text."""

import re

from crm_api.domain.phone import InvalidPhoneError, parse_phone

_LABEL = re.compile(r"\s*[A-Za-z]+\s*[:.#=]\s*")
_PHONE_LIKE = re.compile(r"[0-9+().\-/\s]+")
_FEWEST_DIGITS = 3
_MOST_WORDS = 10


def search_terms(text: str) -> list[list[str]]:
    """Take a search apart: every term must occur, in any one of its writings.

    ``(617) 555-0123`` is one term, written ``16175550123``; ``rossi 617-555`` is two, the second
    written ``617-555`` or ``617555``. Nothing searched gives no term. Further words than the tenth
    are ignored.
    """
    words = text.split()[:_MOST_WORDS]
    if not words:
        return []
    digits = _digits(text)
    if digits is not None:
        return [[digits]]
    return [_writings(word) for word in words]


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
