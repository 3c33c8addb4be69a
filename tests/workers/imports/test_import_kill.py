"""Killed workers do not change the result of an import, its undo, and a second import."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import empty_tables
from tests.factories import make_contact
from tests.workers.imports.test_imports import Importer

from crm_api.domain.imports.contacts import commit, undo_request
from crm_api.domain.imports.contacts.source import CHUNK_ROWS
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, session_factory

NewUow = Callable[[], UnitOfWork]
ROWS = CHUNK_ROWS + 1_500
ROOT = Path(__file__).parents[3]

_CONTACTS = text("""
    SELECT c.phone, c.first_name, c.last_name, c.email, c.city, c.state, c.tags, c.attributes,
        c.zone_key, c.source, c.deleted_at IS NOT NULL AS is_deleted,
        array(SELECT l.name FROM contact_list_member m JOIN contact_list l ON l.id = m.list_id
            WHERE m.contact_id = c.id) AS lists
    FROM contact c ORDER BY c.phone
""")

pytestmark = pytest.mark.timeout(180)


def people() -> str:
    """Return a CSV file: some of its numbers are stored already, repeated or invalid."""
    rows = []
    for at in range(ROWS):
        phone = f"(617) 555-{at:04d}"
        if at % 50 == 7:
            phone = "call after 5"
        if at % 40 == 9:
            phone = f"617.555.{at // 2:04d}"
        rows.append(f"{phone},Person{at},Rossi,p{at}@example.com,Quincy,MA,a cracked wall,spring")
    return "phone,first_name,last_name,email,city,state,notes,tags\n" + "\n".join(rows) + "\n"


class Scene:
    """Helper that runs imports in worker processes, and reads the stored contacts."""

    def __init__(self, engine: AsyncEngine, new_uow: NewUow, folder: Path) -> None:
        self.importer = Importer(new_uow, folder)
        self._engine = engine
        self._new_uow = new_uow
        self._folder = folder

    async def add_known_contacts(self) -> None:
        """Store some of the contacts that the file also contains."""
        async with session_factory(self._engine)() as session:
            for at in range(0, ROWS, 300):
                phone = f"+1617555{at:04d}"
                await make_contact(session, phone=phone, first_name="Ada", last_name=None)
            await session.commit()

    async def read_contacts(self) -> list[Any]:
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(_CONTACTS)]

    async def commit(self, dry_run_id: UUID) -> UUID:
        async with self._new_uow() as uow:
            return (await commit.commit_dry_run(uow, import_id=dry_run_id, now=clock.now())).id

    async def request_undo(self, import_id: UUID) -> None:
        async with self._new_uow() as uow:
            await undo_request.request_undo(uow, import_id=import_id, now=clock.now())

    async def run_worker_until_killed(self, step: str) -> None:
        """Run a worker until it is killed in its second transaction that reaches this step."""
        url = self._engine.url.render_as_string(hide_password=False)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.workers.imports.import_worker", url, str(self._folder)),
            *(step, "2"),
            cwd=ROOT,
        )
        assert await process.wait() == -signal.SIGKILL
        # Expire the lease of the killed worker.
        async with self._engine.begin() as connection:
            await connection.execute(text("UPDATE contact_import SET lease_until = NULL"))


@pytest.fixture
def scene(committed_db: AsyncEngine, committed_uow: NewUow, tmp_path: Path) -> Scene:
    return Scene(committed_db, committed_uow, tmp_path)


async def test_killed_workers_leave_the_contacts_of_undisturbed_runs(
    scene: Scene, committed_db: AsyncEngine
) -> None:
    content = people()
    await scene.add_known_contacts()
    before = await scene.read_contacts()
    undisturbed = await scene.importer.import_file(content, list_name="Quincy")
    assert undisturbed.status == "completed", undisturbed.error
    expected = await scene.read_contacts()
    await empty_tables(committed_db)
    await scene.add_known_contacts()
    dry = await scene.importer.import_file(content, dry_run=True, list_name="Quincy")

    first_id = await scene.commit(dry.id)
    await scene.run_worker_until_killed("import.open")
    assert (await scene.importer.get(first_id)).rows_processed == CHUNK_ROWS
    await scene.importer.run()
    assert await scene.read_contacts() == expected

    await scene.request_undo(first_id)
    await scene.run_worker_until_killed("import_undo.open")
    undo = (await scene.importer.get(first_id)).undo
    assert undo is not None
    assert (undo["status"], undo["removed"] > 0) == ("running", True)
    await scene.importer.run()
    assert [row for row in await scene.read_contacts() if not row[-2]] == before

    second_id = await scene.commit(dry.id)
    await scene.run_worker_until_killed("import.open")
    await scene.importer.run()

    second = await scene.importer.get(second_id)
    assert (second.status, second.changed_since_dry_run) == ("completed", 0)
    counts = ("created", "updated", "unchanged", "duplicates_in_file", "invalid", "changes")
    assert [getattr(second, name) for name in counts] == [
        getattr(undisturbed, name) for name in counts
    ]
    assert await scene.read_contacts() == expected
