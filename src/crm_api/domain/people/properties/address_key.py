"""Build the same key for all spellings of an address.

``12 Main Street, Apt. 4B`` in 02169-1234 has the key ``12 main st #4b|02169``. Without a ZIP code,
a key ends with the city and the state. So an address has different keys with and without its ZIP
code.
"""

import re
import unicodedata

from crm_api.domain.kit.zones import state_code

_SPELLINGS = """
st: street str strt saint
ave: avenue av aven avenu
blvd: boulevard boul blv
dr: drive drv
rd: road
ln: lane
ct: court crt
pl: place
ter: terrace terr
cir: circle circ crcl
hwy: highway hiway
pkwy: parkway pky
sq: square sqr
trl: trail
plz: plaza
pt: point
xing: crossing
ext: extension
hts: heights
aly: alley
tpke: turnpike tpk
rdg: ridge
mt: mount
mtn: mountain
ft: fort
rte: route rt
ests: estates
gdns: gardens
hbr: harbor harbour
lndg: landing
mdws: meadows
vlg: village
cv: cove
bldg: building
fl: floor
n: north
s: south
e: east
w: west
ne: northeast
nw: northwest
se: southeast
sw: southwest
1st: first
2nd: second
3rd: third
4th: fourth
5th: fifth
6th: sixth
7th: seventh
8th: eighth
9th: ninth
10th: tenth
#: apt apartment unit ste suite no number rm room
"""
"""The short form of each word and its other spellings, from the list of the US Postal Service."""
_SHORT = {
    other: short
    for short, _, others in (line.partition(": ") for line in _SPELLINGS.strip().splitlines())
    for other in others.split()
}
_UNIT = "#"
_RANGE = "~"
"""Temporarily replaces the hyphen in a range such as ``12-14``, while other hyphens are removed."""
_BETWEEN_NUMBERS = re.compile(r"(?<=\d)\s*-\s*(?=\d)")
_HALF = re.compile(r"(?<=\d)\s*/\s*(?=\d)")
_SILENT = re.compile(r"['\u2019.]|(?<=\d)-(?=[a-z]\b)|(?<=\b[a-z])-(?=\d)")
_SIGNS = re.compile(r"[^a-z0-9#~/]+")
_ZIP = re.compile(r"(\d{5})(?:-?\d{4})?")
_ZIP_DIGITS = range(3, 6)
"""The accepted numbers of digits in a ZIP code. Fewer than five occur because spreadsheets remove
leading zeros."""


def address_key(
    *, street: str | None, city: str | None, state: str | None, postal_code: str | None
) -> str | None:
    """Return the key of an address; None if the address is incomplete.

    A complete address has a street and a ZIP code, or a street, a city and a state.
    """
    line = street_key(street or "")
    if not line:
        return None
    place = _postal_key(postal_code or "")
    if not place:
        town = " ".join(_words(city or ""))
        region = (state_code(state) or "").lower() or " ".join(_words(state or ""))
        if not (town and region):
            return None
        place = f"{town} {region}"
    return f"{line}|{place}"


def street_key(street: str) -> str:
    """Return the part of an address key before ``|``: street and unit.

    If ``street`` is only the beginning of a street, the result is the beginning of a key, which a
    search can use.
    """
    words = _words(street)
    if _UNIT not in words:
        return " ".join(words)
    at = words.index(_UNIT)
    before, behind = words[:at], [word for word in words[at:] if word != _UNIT]
    if not before and len(behind) > 1:
        # The unit is before the street, as in ``Unit 4, 12 Main St``. Move the unit behind the
        # street.
        before, behind = behind[1:], behind[:1]
    unit = "".join(behind)
    return " ".join([*before, f"{_UNIT}{unit}"] if unit else before)


def _words(text: str) -> list[str]:
    """Split an address line into lower-case words in short form: ``Street`` becomes ``st``."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(letter for letter in folded if not unicodedata.combining(letter))
    # The hyphen in a range of street numbers is kept. The hyphen in ``4-B`` is removed, because
    # ``4-B`` and ``4B`` are the same unit.
    joined = _HALF.sub("/", _BETWEEN_NUMBERS.sub(_RANGE, plain.replace(_RANGE, " ")))
    spaced = _SILENT.sub("", joined).replace(_UNIT, f" {_UNIT} ")
    words = [word.strip(f"/{_RANGE}") for word in _SIGNS.sub(" ", spaced).split()]
    return [_SHORT.get(word, word).replace(_RANGE, "-") for word in words if word]


def _postal_key(text: str) -> str:
    code = "".join(text.split()).removesuffix(".0")
    if code.isdigit() and len(code) in _ZIP_DIGITS:
        return code.zfill(5)
    found = _ZIP.fullmatch(code)
    return found[1] if found else re.sub(r"[^a-z0-9]", "", code.casefold())
