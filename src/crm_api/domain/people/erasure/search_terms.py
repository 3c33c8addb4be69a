"""The texts that identify a person, and regular expressions that find them in other texts."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from crm_api.platform.encryption import seal, unseal

_SHORTEST_WORDS = 6
"""A word with fewer characters than this is not searched, because it would match unrelated text."""
_BETWEEN = r"[^0-9]{0,3}"
"""Regular expression for the characters between the groups of digits in a phone number."""


@dataclass(frozen=True, kw_only=True)
class SearchTerms:
    """The texts that identify a person.

    Attributes:
        phones: The phone numbers, in E.164.
        words: Other texts, such as e-mail addresses and the full name, in lower case.
    """

    phones: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, phones: Collection[str], words: Iterable[str | None]) -> Self:
        """Build search terms from phone numbers and from words such as e-mail addresses.

        The words are converted to lower case, and each run of white space becomes one space. Words
        of fewer than six characters are left out.
        """
        kept = {" ".join(text.split()).casefold() for text in words if text}
        return cls(
            phones=tuple(sorted(phones)),
            words=tuple(sorted(text for text in kept if len(text) >= _SHORTEST_WORDS)),
        )

    def number_pattern(self) -> str:
        """Return a regular expression for the phone numbers, valid in PostgreSQL and Python."""
        found = "|".join(_number(phone) for phone in self.phones)
        return f"(?<![0-9])(?:{found})(?![0-9])"

    def word_pattern(self) -> str:
        """Return a regular expression for the search terms that are not phone numbers.

        If there are no such terms, the expression matches nothing.
        """
        if not self.words:
            return "(?!)"
        return "|".join(_escaped(text) for text in self.words)

    def redact(self, text: str) -> str:
        """Replace the person's phone numbers by ``0``, and the other search terms by ``erased``."""
        without = re.sub(self.number_pattern(), "0", text)
        return re.sub(self.word_pattern(), "erased", without, flags=re.IGNORECASE)

    def dump(self) -> str:
        """Return the terms as JSON."""
        return json.dumps({"phones": self.phones, "words": self.words})

    @classmethod
    def load(cls, written: str) -> Self:
        """Return the search terms that ``dump`` has written as JSON."""
        value = json.loads(written)
        return cls(phones=tuple(value["phones"]), words=tuple(value["words"]))


def seal_terms(terms: SearchTerms, *, erasure_id: UUID, secret: bytes) -> bytes:
    """Encrypt the search terms of an erasure."""
    return seal(terms.dump(), secret=secret, about=f"erasure {erasure_id}")


def unseal_terms(sealed: bytes, *, erasure_id: UUID, secret: bytes) -> SearchTerms:
    """Decrypt the search terms of an erasure.

    Raises:
        UnsealError: The terms were encrypted with another secret key.
    """
    return SearchTerms.load(unseal(sealed, secret=secret, about=f"erasure {erasure_id}"))


def _number(phone: str) -> str:
    digits = phone.removeprefix("+1")
    if len(digits) != 10 or not digits.isdigit():  # noqa: PLR2004 - not a number of the US or Canada
        return _escaped(phone)
    groups = _BETWEEN.join((digits[:3], digits[3:6], digits[6:]))
    return rf"(?:\+?1{_BETWEEN})?\(?{groups}"


def _escaped(text: str) -> str:
    """Escape a text for use in regular expressions of both PostgreSQL and Python."""
    return "".join(one if one.isalnum() or one in "_ " else f"\\{one}" for one in text)
