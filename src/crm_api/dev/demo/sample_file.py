"""Create an invented list of properties as CSV, in PropertyRadar's format with 39 columns.

Each row has two owners. In each phone number, the three digits after the area code are 555, so that
the number belongs to nobody.
"""

import csv
import io
from dataclasses import dataclass
from random import Random

COLUMNS = (
    *("Type", "Address", "City", "ZIP", "Subdivision", "Longitude", "Latitude", "APN", "Yr Built"),
    *("Purchase Date", "Purchase Mos Since", "Sq Ft", "Beds", "Baths", "Est Value"),
    *("Est Equity $", "Owner", "Mail Address", "Mail City", "Mail State", "Mail ZIP"),
    *("Owner Occ?", "Listed for Sale?", "Listing Status", "Foreclosure?", "Est Equity %"),
    *("High Equity?", "Primary Name", "Primary Mobile Phone1", "Primary Mobile 1 Status"),
    *("Primary Email1", "Primary Email 1 Status", "Primary Email1 Hash", "Secondary Name"),
    *("Secondary Mobile Phone1", "Secondary Mobile 1 Status", "Secondary Email1"),
    *("Secondary Email 1 Status", "Secondary Email1 Hash"),
)
ROWS = 420
SEED = 7

_FIRST = (
    *("Ada", "Bruno", "Carmen", "Dmitri", "Elena", "Farid", "Grace", "Hugo", "Inés", "Jonas"),
    *("Keiko", "Liam", "Mónica", "Nadia", "Oscar", "Priya", "Quinn", "Rosa", "Samir", "Tess"),
)
_LAST = (
    *("Abbott", "Bianchi", "Castro", "D'Angelo", "Evans", "Fischer", "García", "Hayes", "Ito"),
    *("Jensen", "Kaur", "Lindqvist", "Moreau", "Núñez", "O'Neil", "Patel", "Quist", "Rossi"),
)
_STREETS = ("Furnace Brook St", "Adams St", "Quarry Rd", "Granite Ave", "Mill Pond Ln", "Elm Ct")
_CITIES = (
    ("Boston", "MA", "02134", "617"),
    ("Quincy", "MA", "02169", "781"),
    ("Providence", "RI", "02903", "401"),
    ("Hartford", "CT", "06103", "860"),
    ("Austin", "TX", "78701", "512"),
    ("Seattle", "WA", "98101", "206"),
)
_WRITINGS = ("({0}) {1}-{2}", "{0}-{1}-{2}", "+1{0}{1}{2}", "{0}.{1}.{2}", "1-{0}-{1}-{2}")
_HAS_PHONE = (0.62, 0.34)
"""Probabilities (0 to 1) that the first owner and the second owner of a property have a phone
number.

The values are similar to those in a real purchased list.
"""
_SAME_AGAIN = 0.02
_UNUSABLE = 0.01


@dataclass(frozen=True)
class _Owner:
    name: str
    phone: str
    email: str


def make_csv(*, rows: int = ROWS, seed: int = SEED) -> bytes:
    """Return the list of properties as CSV; the same seed gives the same file.

    Some phone numbers appear twice, and some values in the phone columns are not phone numbers, so
    that the import has problems to report.
    """
    random = Random(seed)  # noqa: S311 - made-up people, no secret
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    phones: list[str] = []
    for position in range(rows):
        writer.writerow(_row(random, position, phones))
    return text.getvalue().encode()


def _row(random: Random, position: int, phones: list[str]) -> list[str]:
    city, state, postal_code, area = random.choice(_CITIES)
    street = f"{random.randint(1, 990)} {random.choice(_STREETS)}"
    last = random.choice(_LAST)
    first, second = (
        _owner(random, last, area=area, has_phone=random.random() < share, phones=phones)
        for share in _HAS_PHONE
    )
    value = random.randint(280, 1_400) * 1_000
    equity = random.randint(10, 95)
    coordinates = [f"{-71 + random.random():.5f}", f"{42 + random.random():.5f}"]
    bought = random.randint(1995, 2024)
    rooms = [
        f"{random.randint(900, 4_200)}",
        f"{random.randint(2, 6)}",
        f"{random.randint(1, 4)}",
    ]
    return [
        *("SFR", street, city, postal_code, "", *coordinates, f"{9_000_000 + position}"),
        *(f"{random.randint(1900, 2020)}", f"{bought}-05-01", f"{(2026 - bought) * 12}", *rooms),
        *(f"${value:,}", f"${value * equity // 100:,}", f"{last.upper()},{first.name.upper()}"),
        *(street, city, state, postal_code, "1", "0", "", "0", f"{equity}"),
        "1" if equity >= 50 else "0",  # noqa: PLR2004 - PropertyRadar's definition of high
        *_person(first),
        *_person(second),
    ]


def _owner(random: Random, last: str, *, area: str, has_phone: bool, phones: list[str]) -> _Owner:
    first = random.choice(_FIRST)
    name = f"{first} {last}"
    if not has_phone:
        return _Owner(name, "", "")
    chance = random.random()
    if chance < _UNUSABLE:
        return _Owner(name, "unknown", "")
    if chance < _UNUSABLE + _SAME_AGAIN and phones:
        return _Owner(name, random.choice(phones), "")
    # This phone number is new. Two people share a phone number only in the case above.
    number = (area, "555", f"{1_000 + len(phones) * 7 % 9_000:04d}")
    phone = random.choice(_WRITINGS).format(*number)
    phones.append(phone)
    plain = first.encode("ascii", "ignore").decode().lower()
    return _Owner(name, phone, f"{plain}.{len(phones)}@example.com")


def _person(owner: _Owner) -> list[str]:
    return [
        *(owner.name, owner.phone, "Active" if owner.phone else ""),
        *(owner.email, "Valid" if owner.email else "", ""),
    ]
