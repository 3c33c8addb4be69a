"""A move from one real database to another, and the data directory that remains at the source."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW, SECRET
from tests.dev.test_up import command
from tests.domain.monitoring.backups.test_restore import PEOPLE, PICTURE, SHA256, fill
from tests.factories import make_contact
from tests.free_ports import free_port
from tests.migrations.support import connected_engine, own_database
from typer.testing import CliRunner

from crm_api.cli.move import cli
from crm_api.dev.embedded_servers import servers
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.monitoring.backups import moving
from crm_api.domain.monitoring.backups.archive import BackupError
from crm_api.domain.monitoring.backups.moving import Moved
from crm_api.platform import migration_runner, schema_revisions
from crm_api.platform.data_dir import refuse_moved, write_secret
from crm_api.platform.database import UnitOfWorkFactory, session_factory
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings


@dataclass(frozen=True)
class MoveHarness:
    """A source database with rows, and the settings of the target of a move."""

    source_url: str
    settings: Settings

    async def move(self) -> Moved:
        return await moving.move(self.settings, self.source_url, now=NOW, report=lambda _: None)

    async def execute_on_target(self, statement: str) -> None:
        url = self.settings.require_database_url()
        async with connected_engine(url) as engine, engine.begin() as connection:
            await connection.execute(text(statement))

    async def digests(self, url: str) -> moving.Digests:
        async with connected_engine(url) as engine, engine.connect() as connection:
            return await moving.digests(connection)


@pytest_asyncio.fixture
async def harness(
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    database_url: str,
    engine: AsyncEngine,
    tmp_path: Path,
) -> AsyncIterator[MoveHarness]:
    await fill(committed_uow, tmp_path / "media")
    async with own_database(engine, "crm_moved") as url:
        yield MoveHarness(database_url, settings.model_copy(update={"database_url": url}))


async def test_move_copies_each_row_and_campaigns_keep_running(harness: MoveHarness) -> None:
    moved = await harness.move()

    target_url = harness.settings.require_database_url()
    assert await harness.digests(target_url) == await harness.digests(harness.source_url)
    async with connected_engine(target_url) as engine, engine.connect() as connection:
        states = await connection.execute(text("SELECT name, status FROM campaign ORDER BY name"))
        schema = await schema_revisions.read_schema_state(connection)
        assert [tuple(row) for row in states] == [
            ("draft", "draft"),
            ("over", "completed"),
            ("running", "running"),
            ("stopped", "blocked"),
        ]
    assert schema.trouble() is None
    assert moved.rows > 2 * PEOPLE
    assert moved.media_files == 0


async def test_media_files_are_copied_if_their_location_changes(
    harness: MoveHarness, tmp_path: Path
) -> None:
    elsewhere = harness.settings.model_copy(update={"media_url": str(tmp_path / "pictures")})

    moved = await MoveHarness(harness.source_url, elsewhere).move()

    kept = await MediaStore(tmp_path / "pictures").read(SHA256, start=0, end=len(PICTURE))
    assert b"".join([bytes(chunk) async for chunk in kept]) == PICTURE
    assert (moved.media_files, moved.missing_media) == (1, 0)


async def test_old_installation_refuses_to_start(harness: MoveHarness) -> None:
    refuse_moved(harness.settings.data_dir)
    await harness.move()

    with pytest.raises(StartError, match="would send messages a second time"):
        refuse_moved(harness.settings.data_dir)


async def test_target_with_data_is_refused(harness: MoveHarness) -> None:
    await harness.move()

    with pytest.raises(BackupError, match="a move never replaces data"):
        await harness.move()


async def leave_unfinished_move(harness: MoveHarness) -> None:
    """Create the state after a crash between the copy and the enabling of the new database."""
    await harness.move()
    await harness.execute_on_target("DELETE FROM alembic_version")


async def test_interrupted_move_continues(harness: MoveHarness) -> None:
    await leave_unfinished_move(harness)

    await harness.move()

    async with connected_engine(harness.settings.require_database_url()) as engine:
        assert await schema_revisions.current_revision(engine) == schema_revisions.head_revision()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE contact SET first_name = 'Eve' WHERE phone LIKE '%7'", "contact"),
        ("DELETE FROM campaign_variant", "campaign_variant"),
        ("SELECT setval('event_id_seq', 1000000)", "sequence event_id_seq"),
    ],
    ids=["row changed", "rows deleted", "sequence advanced"],
)
async def test_copy_that_differs_is_not_enabled(
    harness: MoveHarness, change: str, where: str
) -> None:
    await leave_unfinished_move(harness)
    (harness.settings.data_dir / "moved-to").unlink()
    await harness.execute_on_target(change)

    with pytest.raises(BackupError, match=where):
        await harness.move()

    refuse_moved(harness.settings.data_dir)
    async with connected_engine(harness.settings.require_database_url()) as engine:
        assert await schema_revisions.current_revision(engine) is None


async def test_another_secret_key_is_refused(harness: MoveHarness) -> None:
    (harness.settings.data_dir / "secret-key").write_text("another key of thirty-two characters\n")

    with pytest.raises(BackupError, match="CRM_SECRET_KEY differs"):
        await harness.move()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


async def test_move_command_run_as_users_run_it(engine: AsyncEngine, short_folder: Path) -> None:
    folder = short_folder / "data"
    async with own_database(engine, "crm_moved_by_hand") as url:
        values = {"CRM_DATABASE_URL": url, "CRM_DATA_DIR": str(folder)}
        nothing = CliRunner().invoke(cli, env=values)
        with servers(folder, redis=False, fsync=False) as started:
            await migration_runner.upgrade(started.database_url or "")
            async with (
                connected_engine(started.database_url or "") as own,
                session_factory(own)() as session,
                session.begin(),
            ):
                contact_id = (await make_contact(session)).id
            busy = CliRunner().invoke(cli, env=values)
        write_secret(folder / "secret-key", SECRET)

        moved = command("move", **values)
        back = command("up", CRM_DATA_DIR=str(folder), CRM_PORT=str(free_port()))

        async with connected_engine(url) as own, own.connect() as connection:
            found = await connection.scalar(text("SELECT id FROM contact"))

    assert "there is nothing to move" in str(nothing.exception)
    assert "is already running" in str(busy.exception)
    assert moved.returncode == 0, moved.stderr
    assert "every row is the same on both sides" in moved.stdout
    assert f"the content of {folder / 'secret-key'}" in moved.stdout
    assert back.returncode == 1
    assert "would send messages a second time" in back.stderr
    assert found == contact_id
