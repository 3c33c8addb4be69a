"""What a person is known by, as patterns to search for."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

_SHORTEST_WORDS = 6
"""A shorter one would be found in what is about nobody."""
_BETWEEN = r"[^0-9]{0,3}"
"""Between the groups of a number in any usual writing."""


@dataclass(frozen=True, kw_only=True)
class Needles:
    """Numbers in E.164, and words: e-mail addresses, full names."""

    phones: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, phones: Collection[str], words: Iterable[str | None]) -> Self:
        """Take what is known; words that are too short to say who is meant are left out."""
        kept = {" ".join(text.split()).casefold() for text in words if text}
        return cls(
            phones=tuple(sorted(phones)),
            words=tuple(sorted(text for text in kept if len(text) >= _SHORTEST_WORDS)),
        )

    def number_pattern(self) -> str:
        """Return a regular expression of PostgreSQL (and Python) for the numbers."""
        found = "|".join(_number(phone) for phone in self.phones)
        return f"(?<![0-9])(?:{found})(?![0-9])"

    def word_pattern(self) -> str:
        """Return one for the words; without any, one that nothing fits."""
        if not self.words:
            return "(?!)"
        return "|".join(_escaped(text) for text in self.words)

    def redact(self, text: str) -> str:
        """Return a text without what names the person."""
        without = re.sub(self.number_pattern(), "0", text)
        return re.sub(self.word_pattern(), "erased", without, flags=re.IGNORECASE)

    def dump(self) -> str:
        """Write them down."""
        return json.dumps({"phones": self.phones, "words": self.words})

    @classmethod
    def load(cls, written: str) -> Self:
        """Read them again."""
        value = json.loads(written)
        return cls(phones=tuple(value["phones"]), words=tuple(value["words"]))


def _number(phone: str) -> str:
    digits = phone.removeprefix("+1")
    if len(digits) != 10 or not digits.isdigit():  # noqa: PLR2004 - not of the US or Canada
        return _escaped(phone)
    groups = _BETWEEN.join((digits[:3], digits[3:6], digits[6:]))
    return rf"(?:\+?1{_BETWEEN})?\(?{groups}"


def _escaped(text: str) -> str:
    """Both dialects read a backslash before anything but a letter, a digit or ``_`` as itself."""
    return "".join(one if one.isalnum() or one in "_ " else f"\\{one}" for one in text)
