"""Create contacts, and a file with twice as many rows.

Half of the rows in the file are new people, and half are contacts that exist already.
"""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from benchmarks.bulk import bare_tables
from crm_api.domain.kit.regions import AREA_CODE_STATES

HEADER = (
    *("First Name", "Last Name", "Phone", "Email", "Street", "City", "State", "Zip"),
    *("Year Built", "Notes"),
)
PHONE_COLUMN = 2
SEED = 5
_AREA_CODES = sorted(AREA_CODE_STATES)
_FIRST = ("Ada", "Leo", "Eva", "Omar", "Nora", "Wei", "ruth", "IVAN", "Zoë", "Olga")
_LAST = ("Rossi", "KIM", "Chen", "Patel", "Silva", "Cohen", "o'brien", "Garcia")
_CITIES = ("Quincy", "Boston", "Salem", "Lynn")
_WRITINGS = ("({0}) {1}-{2}", "{0}-{1}-{2}", "+1{0}{1}{2}", "{0}{1}{2}", "{0}.{1}.{2}")
_ODD_WRITINGS = ("{0} {1} {2} x204", "tel: {0}-{1}-{2}", "{0}{1}{2}.0", "1 ({0}) {1} {2}")
_CALENDAR_YEARS = 120

# Stored contacts lack the values in the file, except one contact in ten, which has all of them.
_KNOWN = text("""
    INSERT INTO contact (id, phone, first_name, last_name, email, street, city, state, postal_code,
        attributes, zone_key, source, created_at, updated_at)
    SELECT uuid_v7(),
        '+1' || (CAST(:codes AS text[]))[1 + n / 10000] || '555' || lpad((n % 10000)::text, 4, '0'),
        'Ada', CASE WHEN n % 10 = 0 THEN 'Rossi' END,
        CASE WHEN n % 10 = 0 THEN 'p' || n || '@example.com' END,
        CASE WHEN n % 10 = 0 THEN (n % 999) || ' Sea St' END,
        CASE WHEN n % 10 = 0 THEN 'Quincy' END, 'MA',
        CASE WHEN n % 10 = 0 THEN '02169' END,
        CASE WHEN n % 10 = 0 THEN '{"year_built": "1900", "notes": "x"}' ELSE '{}' END::jsonb,
        'MA/America/New_York', 'api', now(), now()
    FROM generate_series(0, CAST(:count AS integer) - 1) AS n
""")


def number(position: int) -> tuple[str, str, str]:
    """Return the parts of the phone number with this position. All have the exchange 555."""
    return _AREA_CODES[position // 10_000], "555", f"{position % 10_000:04d}"


async def fill(url: str, people: int) -> None:
    """Store ``people`` contacts."""
    async with bare_tables(url, ["contact"]) as connection:
        await connection.execute(_KNOWN, {"codes": _AREA_CODES, "count": people})


def write(path: Path, rows: int) -> None:
    """Write a file with ``rows`` rows.

    Half of them are stored contacts; one in fifty is invalid.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(_rows(rows))


def _rows(rows: int) -> Iterator[list[str]]:
    draw = random.Random(SEED)  # noqa: S311 - repeatable, no secret
    known = new = 0
    for at in range(rows):
        is_known = at % 2 == 0
        position = known if is_known else rows // 2 + new
        known, new = known + is_known, new + (not is_known)
        writings = _ODD_WRITINGS if at % 10 == 9 else _WRITINGS  # noqa: PLR2004 - one in ten
        phone = draw.choice(writings).format(*number(position))
        if at % 50 == 17:  # noqa: PLR2004 - one in fifty
            phone = draw.choice(("call after 5", "555-0123", "+44 20 7946 0958", ""))
        yield [
            draw.choice(_FIRST),
            draw.choice(_LAST),
            phone,
            f"p{position}@example.com",
            f"{position % 999} Sea St",
            draw.choice(_CITIES),
            "MA",
            f"02{position % 1000:03d}",
            str(1900 + position % _CALENDAR_YEARS),
            "crack in the basement wall" if at % 3 else "",
        ]
