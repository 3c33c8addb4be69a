"""Variations of replies, for training only: typing errors and unusual characters.

The same seed gives the same variations.
"""

import random
import unicodedata
from collections.abc import Callable

_NEIGHBOURS = {
    letter: row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for at, letter in enumerate(row)
}
_LOOKALIKES = dict(zip("aeopcyxi", "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456", strict=True))
_DIGITS = {"o": "0", "i": "1", "e": "3", "s": "5", "t": "7", "a": "4"}


def vary(text: str, rng: random.Random) -> str:
    """Return the text after one to three random changes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice(_VARIATIONS)(text, rng)
    return text


def _letter(text: str, rng: random.Random) -> int | None:
    places = [place for place, one in enumerate(text) if one.isalpha()]
    return rng.choice(places) if places else None


def _slip(text: str, rng: random.Random) -> str:
    place = _letter(text, rng)
    near = "" if place is None else _NEIGHBOURS.get(text[place].lower(), "")
    if place is None or not near:
        return text
    return text[:place] + rng.choice(near) + text[place + 1 :]


def _lose(text: str, rng: random.Random) -> str:
    place = _letter(text, rng)
    return text if place is None or len(text) < 5 else text[:place] + text[place + 1 :]


def _double(text: str, rng: random.Random) -> str:
    place = _letter(text, rng)
    return text if place is None else text[: place + 1] + text[place:]


def _swap(text: str, rng: random.Random) -> str:
    place = _letter(text, rng)
    if place is None or place + 1 >= len(text):
        return text
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _lose_space(text: str, rng: random.Random) -> str:
    spaces = [place for place, one in enumerate(text) if one == " "]
    if not spaces:
        return text
    place = rng.choice(spaces)
    return text[:place] + text[place + 1 :]


def _add_space(text: str, rng: random.Random) -> str:
    place = _letter(text, rng)
    return text if place is None else f"{text[:place]} {text[place:]}"


def _draw_out(text: str, rng: random.Random) -> str:
    place = _letter(text, rng)
    return text if place is None else text[:place] + text[place] * rng.randint(2, 5) + text[place:]


def _replace(table: dict[str, str]) -> Callable[[str, random.Random], str]:
    def act(text: str, rng: random.Random) -> str:
        return "".join(table.get(one.lower(), one) if rng.random() < 0.3 else one for one in text)

    return act


def _lose_accents(text: str, _: random.Random) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return "".join(one for one in apart if not unicodedata.combining(one))


def _capitals(text: str, rng: random.Random) -> str:
    return text.upper() if rng.random() < 0.5 else text.title()


_VARIATIONS: tuple[Callable[[str, random.Random], str], ...] = (
    _slip,
    _slip,
    _lose,
    _double,
    _swap,
    _lose_space,
    _lose_space,
    _add_space,
    _draw_out,
    _replace(_LOOKALIKES),
    _replace(_DIGITS),
    _lose_accents,
    _capitals,
)
