"""A store with people, and a file of twice as many: half of its rows are new, half are known."""

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

# Known people lack what the file says, but for one in ten, who has it all.
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
    """Return the parts of the position-th number; all are of the 555 exchange."""
    return _AREA_CODES[position // 10_000], "555", f"{position % 10_000:04d}"


async def fill(url: str, people: int) -> None:
    """Store so many people."""
    async with bare_tables(url, ["contact"]) as connection:
        await connection.execute(_KNOWN, {"codes": _AREA_CODES, "count": people})


def write(path: Path, rows: int) -> None:
    """Write a file: half of the rows are people who are stored; one in fifty cannot be taken."""
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
