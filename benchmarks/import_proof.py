"""Prove that an import survives ``kill -9``: dry run, commit, undo and commit again, with kills.

In the end, the database must contain the same contacts as after a run without kills.
"""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from benchmarks import import_people, population
from benchmarks.importing import ROWS, Office
from benchmarks.stage import say, stage
from crm_api.domain.imports.contacts.models import ContactImport
from crm_api.platform.database import open_engine

KILLS = 3
"""The number of workers that are killed in each step."""
LOOK_SECONDS = 0.05

# Ids and times differ from run to run, so the digest leaves them out. Everything else must be
# equal.
_DIGEST = text("""
    SELECT count(*) AS contacts, sum(hashtextextended(concat_ws('|', phone, first_name, last_name,
        email, company, street, city, state, postal_code, country, timezone, zone_key, tags,
        attributes, source), 0)) AS content,
        (SELECT count(*) FROM contact_list_member) AS members
    FROM contact WHERE deleted_at IS NULL
""")
_LEASE_OVER = "UPDATE contact_import SET lease_until = NULL"


def main(rows: int = ROWS) -> None:
    """Run the import with and without kills, compare the contacts, and print the result."""
    draw = random.Random(int(os.environ.get("PROOF_SEED", "1")))  # noqa: S311 - repeatable, no secret
    with stage() as on:
        path = on.folder / "people.csv"
        import_people.write(path, rows)
        asyncio.run(import_people.fill(on.database_url, rows // 2))
        asyncio.run(population.settle(on.database_url))
        for name in ("undisturbed", "struck"):
            asyncio.run(population.copy_database(on.database_url, name))
        without_kills, with_kills = Office(on, "undisturbed"), Office(on, "struck")
        before = asyncio.run(_digest(without_kills))
        say(f"{rows // 2:,} people are stored, and a file of {rows:,} rows")

        id_without_kills = asyncio.run(without_kills.accept(path, dry_run=False))
        _run(without_kills, id_without_kills, undo=False, kills=0, draw=draw)
        expected = asyncio.run(_digest(without_kills))
        say(f"without kills: {expected}")

        found = _run_with_kills(with_kills, path, before, draw)
        if found != expected:
            raise SystemExit(f"with kills: {found}, expected: {expected}")
        print(f"{rows:,} rows: dry run, commit, undo and commit, with {KILLS} kills in each,")
        print(f"gave the contacts of a run without kills: {found}")


def _run_with_kills(office: Office, path: Path, before: str, draw: random.Random) -> str:
    dry_id = asyncio.run(office.accept(path, dry_run=True))
    _run(office, dry_id, undo=False, kills=KILLS, draw=draw)
    first_id = asyncio.run(office.commit(dry_id))
    _run(office, first_id, undo=False, kills=KILLS, draw=draw)
    asyncio.run(office.undo(first_id))
    _run(office, first_id, undo=True, kills=KILLS, draw=draw)
    undone = asyncio.run(_digest(office))
    if undone != before:
        raise SystemExit(f"undone: {undone}, expected: {before}")
    say(f"undone: {undone}, as before")
    second_id = asyncio.run(office.commit(dry_id))
    _run(office, second_id, undo=False, kills=KILLS, draw=draw)
    return asyncio.run(_digest(office))


def _run(office: Office, import_id: UUID, *, undo: bool, kills: int, draw: random.Random) -> None:
    """Run workers until the step has ended, and kill ``kills`` of them at random times."""
    row = asyncio.run(office.get(import_id))
    places = sorted(draw.uniform(0.05, 0.95) for _ in range(kills))
    for place in [*places, None]:
        worker = office.worker()
        try:
            worker.go()
            if place is None:
                worker.figures()
            else:
                asyncio.run(_wait(office, import_id, place, undo=undo))
                os.kill(worker.meter.pid, signal.SIGKILL)
        finally:
            worker.close()
        asyncio.run(population.execute(office.url, _LEASE_OVER, {}))
    row = asyncio.run(office.get(import_id))
    if row.status != "completed" or row.changed_since_dry_run or (undo and row.undone_at is None):
        raise SystemExit(
            f"ended as {row.status} {row.error} {row.changed_since_dry_run} {row.undo}"
        )
    say(f"{'undo' if undo else 'dry run' if row.dry_run else 'commit'} done, {kills} kills")


async def _wait(office: Office, import_id: UUID, place: float, *, undo: bool) -> None:
    """Wait until the given share of the step is done."""
    while True:
        row = await office.get(import_id)
        if _share(row, undo=undo) >= place:
            return
        await asyncio.sleep(LOOK_SECONDS)


def _share(row: ContactImport, *, undo: bool) -> float:
    if undo:
        done = row.undo_counts.get("removed", 0) + row.undo_counts.get("restored", 0)
        return float(done / max(row.created + row.updated, 1))
    return row.rows_processed / (row.rows_total or sys.maxsize)


async def _digest(office: Office) -> str:
    async with open_engine(office.url, pool_size=1) as engine, engine.connect() as connection:
        row = (await connection.execute(_DIGEST)).one()
    return f"{row.contacts:,} contacts, content {row.content}, {row.members:,} memberships"
