"""A backup of a database in use, restored into another one on the same real server."""

import hashlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW, SECRET
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.models.media import Media
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.monitoring.backups import archive, making, restoring
from crm_api.domain.monitoring.backups.archive import BackupError
from crm_api.platform import migration_runner, schema_revisions
from crm_api.platform.database import UnitOfWorkFactory, create_engine
from crm_api.platform.ids import new_id
from crm_api.platform.processes import StartError
from crm_api.platform.schema_revisions import require_matching_schema
from crm_api.platform.settings import Settings

LATER = NOW + timedelta(days=2)
PICTURE = b"a crack in a wall" * 1000
SHA256 = hashlib.sha256(PICTURE).hexdigest()


@dataclass(frozen=True)
class House:
    """A service with data, and an empty target for the restore."""

    settings: Settings
    elsewhere: Settings
    identity: pyrage.x25519.Identity
    folder: Path

    async def back_up(self, name: str = "backup") -> Path:
        made = await making.make(
            self.settings,
            self.folder / name,
            [self.identity.to_public()],
            made_at=NOW,
            report=lambda _: None,
        )
        return made.path

    async def bring_back(
        self, source: Path, *, again: bool = False, **changed: Any
    ) -> restoring.Restored:
        settings = self.elsewhere.model_copy(update=changed)
        return await restoring.restore(
            settings, source, [self.identity], now=LATER, report=lambda _: None, again=again
        )


async def query(engine: AsyncEngine, statement: str) -> list[tuple[Any, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(statement))]


async def fill(new_uow: UnitOfWorkFactory, folder: Path) -> None:
    async with new_uow() as uow:
        line = await make_line(uow.session)
        running = await make_campaign(uow.session, line=line, name="running")
        for position in range(300):
            person = await make_contact(uow.session, phone=number(position))
            await make_member(uow.session, campaign=running, contact=person)
        await make_campaign(uow.session, line=line, name="draft", status="draft")
        await make_campaign(uow.session, line=line, name="over", status="completed")
        for status, origin in (("queued", "manual"), ("sending", "manual"), ("sent", "manual")):
            uow.session.add(
                Activity(
                    kind="message",
                    direction="outgoing",
                    origin=origin,
                    line_id=line.id,
                    phone=number(7),
                    body="We come at nine.",
                    status=status,
                    occurred_at=NOW,
                    created_at=NOW,
                    updated_at=NOW,
                )
            )
        uow.session.add(
            SendAttempt(
                kind="campaign",
                campaign_id=running.id,
                line_id=line.id,
                activity_id=new_id(),
                phone=number(1),
                body="Hi",
                status="claimed",
                token=new_id(),
                lease_until=NOW + timedelta(minutes=1),
                created_at=NOW,
                updated_at=NOW,
            )
        )
        uow.session.add(
            Media(sha256=SHA256, content_type="image/png", size_bytes=len(PICTURE), created_at=NOW)
        )
    await MediaStore(folder).put(SHA256, io.BytesIO(PICTURE), size_bytes=len(PICTURE))


@pytest_asyncio.fixture
async def house(
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    database_url: str,
    engine: AsyncEngine,
    tmp_path: Path,
) -> AsyncIterator[House]:
    name = f"restored_{new_id().hex}"
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text(f'CREATE DATABASE "{name}"'))
    elsewhere_url = make_url(database_url).set(database=name)
    await fill(committed_uow, tmp_path / "media")
    yield House(
        settings=settings,
        elsewhere=settings.model_copy(
            update={
                "database_url": elsewhere_url.render_as_string(hide_password=False),
                "data_dir": tmp_path / "elsewhere",
            }
        ),
        identity=pyrage.x25519.Identity.generate(),
        folder=tmp_path,
    )
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest_asyncio.fixture
async def elsewhere(house: House) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(
        house.elsewhere.require_database_url(), pool_size=1, application="crm-api tests"
    )
    yield engine
    await engine.dispose()


async def test_all_comes_back_and_nothing_leaves(
    house: House, engine: AsyncEngine, elsewhere: AsyncEngine
) -> None:
    restored = await house.bring_back(await house.back_up())

    for table in ("contact", "campaign_membership", "campaign_variant", "line", "media"):
        statement = f"SELECT * FROM {table} ORDER BY id"
        if table == "campaign_variant":
            statement = "SELECT * FROM campaign_variant ORDER BY campaign_id, position"
        assert await query(elsewhere, statement) == await query(engine, statement)
    assert await query(
        elsewhere, "SELECT name, status, paused_reason FROM campaign ORDER BY 1"
    ) == [
        ("draft", "draft", None),
        ("over", "completed", None),
        ("running", "paused", "restored"),
    ]
    waited = await query(elsewhere, "SELECT status, error_code FROM activity ORDER BY status")
    assert waited == [("failed", "restored"), ("sending", None), ("sent", None)]
    assert await query(
        elsewhere, "SELECT status, called_at, lease_until <= called_at FROM send_attempt"
    ) == [("calling", NOW, True)]
    assert (restored.paused, restored.not_sent, restored.media_files) == (1, 1, 1)
    held = [
        bytes(chunk)
        async for chunk in await MediaStore(house.elsewhere.data_dir / "media").read(
            SHA256, start=0, end=len(PICTURE)
        )
    ]
    assert b"".join(held) == PICTURE


async def test_restored_database_starts_and_asks_the_provider(
    house: House, elsewhere: AsyncEngine
) -> None:
    await house.bring_back(await house.back_up())

    assert await schema_revisions.current_revision(elsewhere) == schema_revisions.head_revision()
    ((status, since, until),) = await query(
        elsewhere, "SELECT status, since, until FROM reconciliation_run"
    )
    assert (status, since < NOW, until) == ("pending", True, LATER)
    assert await query(elsewhere, "SELECT kind FROM alert") == [("restored",)]


async def test_secret_key_of_the_data_directory_goes_along(house: House) -> None:
    (house.settings.data_dir / "secret-key").write_text(SECRET + "\n")
    house.elsewhere.data_dir.mkdir()
    with_file = replace(house, settings=house.settings.model_copy(update={"secret_key": None}))

    await with_file.bring_back(await with_file.back_up(), secret_key=None)

    assert (house.elsewhere.data_dir / "secret-key").read_text().strip() == SECRET


async def test_cut_file_changes_nothing(house: House, elsewhere: AsyncEngine) -> None:
    whole = (await house.back_up()).read_bytes()
    cut = house.folder / "cut"

    for length in (len(whole) - 1, len(whole) // 2, 300, 10):
        cut.write_bytes(whole[:length])
        with pytest.raises(BackupError):
            await house.bring_back(cut)
        assert (
            await query(elsewhere, "SELECT relname FROM pg_class WHERE relname = 'contact'") == []
        )


async def test_changed_file_changes_nothing(house: House, elsewhere: AsyncEngine) -> None:
    path = await house.back_up()
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(BackupError):
        await house.bring_back(path)

    assert await query(elsewhere, "SELECT relname FROM pg_class WHERE relname = 'contact'") == []


async def test_another_key_does_not_open_it(house: House) -> None:
    path = await house.back_up()
    stranger = replace(house, identity=pyrage.x25519.Identity.generate())

    with pytest.raises(BackupError, match="the key does not open this backup"):
        await stranger.bring_back(path)


async def test_database_that_is_not_empty_is_left_alone(house: House) -> None:
    path = await house.back_up()
    await house.bring_back(path)

    with pytest.raises(BackupError, match="not empty"):
        await house.bring_back(path)


async def test_another_secret_key_is_refused(house: House) -> None:
    path = await house.back_up()
    other = Settings.from_env({"CRM_SECRET_KEY": "another secret key of 32 characters"}).secret_key

    with pytest.raises(BackupError, match="CRM_SECRET_KEY differs"):
        await house.bring_back(path, secret_key=other)


def rewritten(house: House, source: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Copy the backup with each member changed."""
    target = house.folder / "rewritten"
    with (
        source.open("rb") as old,
        target.open("wb") as new,
        archive.reading(old, [house.identity]) as members,
        archive.writing(new, [house.identity.to_public()]) as writer,
    ):
        for name, content in members:
            writer.add(name, change(name, content.read()))
    return target


async def test_backup_of_a_newer_release_is_refused(house: House) -> None:
    def newer(name: str, content: bytes) -> bytes:
        if name != "manifest.json":
            return content
        return content.replace(schema_revisions.head_revision().encode(), b"29990101_0001")

    path = rewritten(house, await house.back_up(), newer)

    with pytest.raises(BackupError, match="newer than this release"):
        await house.bring_back(path)


async def test_lost_rows_are_noticed_and_nothing_starts(
    house: House, elsewhere: AsyncEngine
) -> None:
    def fewer(_name: str, content: bytes) -> bytes:
        return content.replace(b'"contact": 300', b'"contact": 301')

    path = rewritten(house, await house.back_up(), fewer)

    with pytest.raises(BackupError, match="contact 300 of 301"):
        await house.bring_back(path)

    assert await schema_revisions.current_revision(elsewhere) is None


async def test_half_restore_is_named_and_can_be_begun_again(
    house: House, elsewhere: AsyncEngine
) -> None:
    path = await house.back_up()

    def fewer(_name: str, content: bytes) -> bytes:
        return content.replace(b'"contact": 300', b'"contact": 301')

    # The restore ends after the rows are stored and before the revision is, as if killed there.
    with pytest.raises(BackupError, match="rows are missing"):
        await house.bring_back(rewritten(house, path, fewer))

    with pytest.raises(StartError, match=r"was interrupted.*`--again`"):
        await migration_runner.upgrade(house.elsewhere.require_database_url())
    with pytest.raises(StartError, match=r"was interrupted.*`--again`"):
        await require_matching_schema(house.elsewhere)
    with pytest.raises(BackupError, match=r"was interrupted.*`--again`"):
        await house.bring_back(path)
    await house.bring_back(path, again=True)
    assert await query(elsewhere, "SELECT count(*) FROM contact") == [(300,)]
    assert await schema_revisions.current_revision(elsewhere) == schema_revisions.head_revision()


async def test_whole_database_is_never_cleared(house: House, elsewhere: AsyncEngine) -> None:
    path = await house.back_up()
    await house.bring_back(path)

    with pytest.raises(BackupError, match="not empty"):
        await house.bring_back(path, again=True)

    assert await query(elsewhere, "SELECT count(*) FROM contact") == [(300,)]


async def test_file_that_is_not_a_backup_is_refused(house: House) -> None:
    path = house.folder / "other"
    with path.open("wb") as file, archive.writing(file, [house.identity.to_public()]) as members:
        members.add("readme.txt", b"hello")

    with pytest.raises(BackupError, match="not a backup of crm-api"):
        await house.bring_back(path)


async def test_backup_never_replaces_another(house: House) -> None:
    path = await house.back_up()

    with pytest.raises(BackupError, match="exists"):
        making.choose_target(path, made_at=NOW)
    named = making.choose_target(house.folder, made_at=NOW)
    assert named == house.folder / "crm-20261125T150000Z.tar.age"


async def test_database_that_cannot_be_dumped_leaves_no_file(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "crm_api.domain.monitoring.backups.postgres.program", lambda *_: Path("/bin/false")
    )

    with pytest.raises(BackupError, match="pg_dump failed"):
        await house.back_up()

    assert [path for path in house.folder.iterdir() if path.name.startswith("backup")] == []
