"""Clean single values of a row: names, addresses, e-mail addresses, states, tags."""

import re
from dataclasses import dataclass
from functools import lru_cache

from crm_api.domain.kit.zones import country_code, state_code

_TITLES = frozenset(("mr", "mrs", "ms", "miss", "mx", "dr", "prof", "rev", "hon", "sir"))
_JOINERS = frozenset(("&", "and"))
_SUFFIXES = frozenset(("jr", "sr", "ii", "iii", "iv", "esq", "md", "phd"))
_PARTICLES = re.compile(
    r"(?:d[aeou]|dos|das|del|della|di|la|las|los|van|von|der|den|ter|bin|al)", re.IGNORECASE
)
_MAC_NAME = re.compile(
    r"mac(?:arthur|aulay|beth|callum|carthy|donald|dougall|dowell|farlane|gregor|intosh|intyre|kay"
    r"|kenzie|kinnon|laren|lean|leod|mahon|millan|neill?|pherson|queen|rae|tavish)"
)
"""Names that are written with a capital after ``Mac``, such as ``MacDonald``. Other names, such as
``Machado`` and ``Mackey``, do not match."""
_COMPANY = re.compile(
    r"\b(?:llc|inc|corp|corporation|ltd|llp|lp|trust|trustees?|estate of|association|properties"
    r"|holdings|realty)\b",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
_US_ADDRESS_END = re.compile(
    r"^(?P<state>[A-Za-z][A-Za-z. ]*?)?[\s,]*(?P<zip>\d{5}(?:-\d{4})?)?$",
)
_SHORT_ZIP_DIGITS = (3, 4)
_ZIP_DIGITS = 5
_MAX_EMAIL = 254
_INITIALS = 2


@dataclass(frozen=True, slots=True)
class Name:
    """The parts of a person's name. For the name of a company, only ``company`` is set."""

    first: str | None = None
    middle: str | None = None
    last: str | None = None
    company: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a postal address; None for each part that was not found."""

    street: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


def squeeze(text: str) -> str:
    """Remove white space at both ends, and replace other runs of white space by one space."""
    return " ".join(text.split())


# The same names occur often in a file. With the cache, a repeated name takes 0.1 µs instead of
# 1.5 µs. A full cache needs about 2 MB.
@lru_cache(maxsize=8_192)
def person_name(text: str) -> str:
    """Remove extra spaces from a name, and correct its capitals if all letters have the same case.

    ``ROSSI`` and ``rossi`` become ``Rossi``, and ``O'BRIEN`` becomes ``O'Brien``. A name in mixed
    case does not change. Two capitals such as ``JD`` do not change either: they are initials.
    """
    name = squeeze(text)
    if not (name.isupper() or name.islower()) or (name.isupper() and len(name) <= _INITIALS):
        return name
    return " ".join(_capitalise(word) for word in name.split(" "))


def split_name(text: str) -> Name:
    """Split a full name such as ``Ada M. de la Cruz Jr`` or ``ROSSI, ADA`` into its parts.

    A couple has one first name for both (``Ada & Leo``), because a message greets both. The name of
    a company or a trust is not split.
    """
    name = squeeze(text).rstrip(",")
    if not name:
        return Name()
    if _COMPANY.search(name):
        return Name(company=name)
    last, comma, first = (part.strip() for part in name.partition(","))
    if comma and first.rstrip(".").casefold() in _SUFFIXES:
        last, comma, first = f"{last} {first}", "", ""
    if comma and first:
        return _name(first.split(" "), person_name(last))
    words = last.split(" ")
    while len(words) > 1 and (_is_title(words[0]) or words[0].casefold() in _JOINERS):
        words = words[1:]
    if len(words) == 1:
        only = person_name(words[0])
        return Name(last=only) if _is_title(name.split(" ")[0]) else Name(first=only)
    start = _last_name_start(words)
    return _name(words[:start], person_name(" ".join(words[start:])))


def email_address(text: str) -> str | None:
    """Return the e-mail address in a cell, without ``mailto:``; None if the cell has none.

    Spaces, commas and angle brackets around the address are removed.
    """
    address = text.strip().removeprefix("mailto:").strip("<>;, ")
    if len(address) > _MAX_EMAIL or not _EMAIL.fullmatch(address) or ".." in address:
        return None
    return address


def split_address(text: str) -> Address:
    """Split an address such as ``463 Furnace Brook St, Miami, FL 33101, USA`` into its parts.

    If no state is found at the end of the text, the whole text becomes the street.
    """
    parts = [part for part in (squeeze(part) for part in re.split(r"[,\n]", text)) if part]
    whole = ", ".join(parts)
    country = country_code(parts[-1]) if parts else None
    if country not in {"US", "CA"}:
        country = None
    if country and len(parts) > 1 and not (country == "CA" and len(parts) <= 3):  # noqa: PLR2004 - "…, CA" is California
        parts = parts[:-1]
    else:
        country = None
    if len(parts) >= 2 and parts[-1].replace("-", "").isdigit() and state_code(parts[-2]):  # noqa: PLR2004 - state and ZIP apart
        parts = [*parts[:-2], f"{parts[-2]} {parts[-1]}"]
    end = _US_ADDRESS_END.match(parts[-1]) if len(parts) > 1 else None
    state = state_code(end["state"]) if end else None
    if end is None or state is None:
        return Address(street=whole or None)
    return Address(
        street=", ".join(parts[:-2]) or None,
        city=parts[-2],
        state=state,
        postal_code=end["zip"],
        country=country,
    )


def postal_code(text: str) -> str:
    """Restore zeros that a spreadsheet removed from a ZIP code: ``2169`` becomes ``02169``."""
    code = squeeze(text).removesuffix(".0")
    if code.isdigit() and len(code) in _SHORT_ZIP_DIGITS:
        return code.zfill(_ZIP_DIGITS)
    return code


def state_name(text: str) -> str:
    """Return the code of a state of the US or Canada; return other text without extra spaces."""
    return state_code(text) or squeeze(text)


def tag_names(text: str) -> list[str]:
    """Split a text such as ``vip; spring, 2026`` into tags, without duplicates."""
    parts = (squeeze(part) for part in re.split(r"[,;|\n]", text))
    return list(dict.fromkeys(part for part in parts if part))


def _name(given: list[str], last: str) -> Name:
    """Build a name from its given names (the words before the last name) and its last name."""
    given = [word for word in given if not _is_title(word)]
    joiner = next((at for at, word in enumerate(given) if word.casefold() in _JOINERS), None)
    if joiner is not None:
        couple = [_first_names(given[:joiner]), _first_names(given[joiner + 1 :])]
        first = f" {given[joiner].lower()} ".join(filter(None, couple))
        return Name(first=first or None, last=last)
    if not given:
        return Name(last=last)
    middle = " ".join(person_name(word) for word in given[1:])
    return Name(first=person_name(given[0]), middle=middle or None, last=last)


def _first_names(words: list[str]) -> str:
    """Return the given names of a person; leave out initials if there is also a full name."""
    names = [word for word in words if len(word.rstrip(".")) > 1] or words
    return " ".join(person_name(word) for word in names)


def _is_title(word: str) -> bool:
    return word.rstrip(".").casefold() in _TITLES


def _last_name_start(words: list[str]) -> int:
    """Return the index of the first word of the last name, which includes particles (``de la``)."""
    start = len(words) - 1
    if words[start].rstrip(".").casefold() in _SUFFIXES and start > 1:
        start -= 1
    while start > 1 and _PARTICLES.fullmatch(words[start - 1]):
        start -= 1
    return start


def _capitalise(word: str) -> str:
    if word.casefold().rstrip(".") in {"ii", "iii", "iv"}:
        return word.upper()
    return re.sub(r"[^\W\d_]+", _capitalise_part, word.lower())


def _capitalise_part(found: re.Match[str]) -> str:
    part = found.group()
    before = found.string[: found.start()]
    if before.endswith(("'", "\u2019")) and len(part) == 1:
        return part
    if _MAC_NAME.fullmatch(part):
        return "Mac" + part[3:].capitalize()
    if part.startswith("mc") and len(part) > 3:  # noqa: PLR2004 - "Mc" and a name of two letters
        return "Mc" + part[2:].capitalize()
    return part.capitalize()
