"""Measure the floor (least possible work) of an import: each of its parts alone.

The parsed rows are copied into a staging table, one statement inserts or updates the contacts, and
``phonenumbers`` parses the same phone numbers one after the other.
"""

import csv
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import phonenumbers

from benchmarks.apply import plain
from benchmarks.import_people import PHONE_COLUMN
from crm_api.domain.imports.contacts.rows import COLUMNS
from crm_api.domain.imports.contacts.source import ImportSource, examine_file

_NAMES = ("id", "phone", *COLUMNS, "zone_key", "tags", "attributes")
_STAGING = f"""
    CREATE TEMPORARY TABLE floor_person (
        id uuid, phone text, {", ".join(f"{name} text" for name in COLUMNS)}, zone_key text,
        tags text[], attributes jsonb)
"""
_UPSERT = f"""
    INSERT INTO contact AS c ({", ".join(_NAMES)}, source, created_at, updated_at)
    SELECT {", ".join(_NAMES)}, 'import', now(), now() FROM floor_person
    ON CONFLICT (phone) DO UPDATE SET
        {", ".join(f"{name} = coalesce(c.{name}, excluded.{name})" for name in COLUMNS)},
        attributes = excluded.attributes || c.attributes, updated_at = excluded.updated_at
"""  # noqa: S608 - our own words


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The seconds that each part of the floor takes."""

    numbers: float
    copy: float
    upsert: float

    @property
    def total(self) -> float:
        """Return the seconds of all parts, one after the other."""
        return self.numbers + self.copy + self.upsert


async def measure(url: str, path: Path) -> Floor:
    """Run all parts of the floor in a separate database, and return their seconds."""
    parsed = path.with_suffix(".parsed")
    _write_parsed(path, parsed)
    numbers = _time_numbers(path)
    connection = await asyncpg.connect(plain(url), server_settings={"jit": "off"})
    try:
        async with connection.transaction():
            begun = time.perf_counter()
            await connection.execute(_STAGING)
            await connection.copy_to_table(
                "floor_person", source=parsed, columns=_NAMES, format="csv"
            )
            copied = time.perf_counter()
            await connection.execute(_UPSERT)
        ended = time.perf_counter()
    finally:
        await connection.close()
        parsed.unlink()
    return Floor(numbers=numbers, copy=copied - begun, upsert=ended - copied)


def _write_parsed(path: Path, target: Path) -> None:
    """Write the parsed contacts of a file, one per line. The time of this is not measured."""
    source = ImportSource(path, examine_file(path).mapping)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        while chunk := source.next_chunk():
            for _, _, *values, tags, attributes in chunk.records:
                writer.writerow([*values, "{" + ",".join(tags) + "}", attributes])


def _time_numbers(path: Path) -> float:
    with path.open(newline="", encoding="utf-8") as file:
        texts = [row[PHONE_COLUMN] for row in csv.reader(file)][1:]
    begun = time.perf_counter()
    for text in texts:
        try:
            number = phonenumbers.parse(text, "US")
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number):
            phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return time.perf_counter() - begun
