"""A backup of a database in use, restored into another database on the same real server."""

import hashlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta, timezone
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
PEOPLE = 40
PICTURE = b"a crack in a wall" * 1000
SHA256 = hashlib.sha256(PICTURE).hexdigest()


@dataclass(frozen=True)
class BackupHarness:
    """A service with data, and an empty target for the restore."""

    settings: Settings
    target: Settings
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

    async def restore(
        self, source: Path, *, again: bool = False, **changed: Any
    ) -> restoring.Restored:
        settings = self.target.model_copy(update=changed)
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
        for position in range(PEOPLE):
            person = await make_contact(uow.session, phone=number(position))
            await make_member(uow.session, campaign=running, contact=person)
        await make_campaign(uow.session, line=line, name="draft", status="draft")
        await make_campaign(uow.session, line=line, name="over", status="completed")
        await make_campaign(
            uow.session, line=line, name="stopped", status="blocked", blocked_reason="no_credits"
        )
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
async def harness(
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    database_url: str,
    engine: AsyncEngine,
    tmp_path: Path,
) -> AsyncIterator[BackupHarness]:
    name = f"restored_{new_id().hex}"
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text(f'CREATE DATABASE "{name}"'))
    target_url = make_url(database_url).set(database=name)
    await fill(committed_uow, tmp_path / "media")
    yield BackupHarness(
        settings=settings,
        target=settings.model_copy(
            update={
                "database_url": target_url.render_as_string(hide_password=False),
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
async def target(harness: BackupHarness) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(
        harness.target.require_database_url(), pool_size=1, application="crm-api tests"
    )
    yield engine
    await engine.dispose()


async def test_restore_brings_back_all_rows_and_sends_no_message(
    harness: BackupHarness, engine: AsyncEngine, target: AsyncEngine
) -> None:
    restored = await harness.restore(await harness.back_up())

    for table in ("contact", "campaign_membership", "campaign_variant", "line", "media"):
        statement = f"SELECT * FROM {table} ORDER BY id"
        if table == "campaign_variant":
            statement = "SELECT * FROM campaign_variant ORDER BY campaign_id, position"
        assert await query(target, statement) == await query(engine, statement)
    assert await query(target, "SELECT name, status, paused_reason FROM campaign ORDER BY 1") == [
        ("draft", "draft", None),
        ("over", "completed", None),
        ("running", "paused", "restored"),
        ("stopped", "paused", "restored"),
    ]
    messages = await query(target, "SELECT status, error_code FROM activity ORDER BY status")
    assert messages == [("failed", "restored"), ("sending", None), ("sent", None)]
    assert await query(
        target, "SELECT status, called_at, lease_until <= called_at FROM send_attempt"
    ) == [("calling", NOW, True)]
    assert (restored.paused, restored.not_sent, restored.media_files) == (2, 1, 1)
    chunks = [
        bytes(chunk)
        async for chunk in await MediaStore(harness.target.data_dir / "media").read(
            SHA256, start=0, end=len(PICTURE)
        )
    ]
    assert b"".join(chunks) == PICTURE


async def test_restored_database_starts_with_a_reconciliation_and_an_alert(
    harness: BackupHarness, target: AsyncEngine
) -> None:
    await harness.restore(await harness.back_up())

    assert await schema_revisions.current_revision(target) == schema_revisions.head_revision()
    ((status, since, until),) = await query(
        target, "SELECT status, since, until FROM reconciliation_run"
    )
    assert (status, since < NOW, until) == ("pending", True, LATER)
    assert await query(target, "SELECT kind FROM alert") == [("restored",)]


async def test_secret_key_of_the_data_directory_is_restored(harness: BackupHarness) -> None:
    (harness.settings.data_dir / "secret-key").write_text(SECRET + "\n")
    harness.target.data_dir.mkdir()
    with_file = replace(harness, settings=harness.settings.model_copy(update={"secret_key": None}))

    await with_file.restore(await with_file.back_up(), secret_key=None)

    assert (harness.target.data_dir / "secret-key").read_text().strip() == SECRET


async def test_truncated_file_changes_nothing(harness: BackupHarness, target: AsyncEngine) -> None:
    complete = (await harness.back_up()).read_bytes()
    truncated = harness.folder / "cut"

    for length in (len(complete) - 1, len(complete) // 2, 300, 10):
        truncated.write_bytes(complete[:length])
        with pytest.raises(BackupError):
            await harness.restore(truncated)
        assert await query(target, "SELECT relname FROM pg_class WHERE relname = 'contact'") == []


async def test_corrupted_file_changes_nothing(harness: BackupHarness, target: AsyncEngine) -> None:
    path = await harness.back_up()
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(BackupError):
        await harness.restore(path)

    assert await query(target, "SELECT relname FROM pg_class WHERE relname = 'contact'") == []


async def test_another_key_does_not_open_the_backup(harness: BackupHarness) -> None:
    path = await harness.back_up()
    with_other_key = replace(harness, identity=pyrage.x25519.Identity.generate())

    with pytest.raises(BackupError, match="the key does not open this backup"):
        await with_other_key.restore(path)


async def test_database_that_is_not_empty_is_refused(harness: BackupHarness) -> None:
    path = await harness.back_up()
    await harness.restore(path)

    with pytest.raises(BackupError, match="not empty"):
        await harness.restore(path)


async def test_another_secret_key_is_refused(harness: BackupHarness) -> None:
    path = await harness.back_up()
    other = Settings.from_env({"CRM_SECRET_KEY": "another secret key of 32 characters"}).secret_key

    with pytest.raises(BackupError, match="CRM_SECRET_KEY differs"):
        await harness.restore(path, secret_key=other)


def rewrite_backup(
    harness: BackupHarness, source: Path, change: Callable[[str, bytes], bytes]
) -> Path:
    """Copy a backup, and apply ``change`` to the name and content of each member."""
    target = harness.folder / "rewritten"
    with (
        source.open("rb") as old,
        target.open("wb") as new,
        archive.reading(old, [harness.identity]) as members,
        archive.writing(new, [harness.identity.to_public()]) as writer,
    ):
        for name, content in members:
            archive.add_member(writer, name, change(name, content.read()))
    return target


async def test_backup_of_a_newer_release_is_refused(harness: BackupHarness) -> None:
    def newer(name: str, content: bytes) -> bytes:
        if name != "manifest.json":
            return content
        return content.replace(schema_revisions.head_revision().encode(), b"29990101_0001")

    path = rewrite_backup(harness, await harness.back_up(), newer)

    with pytest.raises(BackupError, match="newer than this release"):
        await harness.restore(path)


async def test_backup_with_missing_rows_is_reported_and_not_enabled(
    harness: BackupHarness, target: AsyncEngine
) -> None:
    def fewer(_name: str, content: bytes) -> bytes:
        return content.replace(b'"contact": %d' % PEOPLE, b'"contact": %d' % (PEOPLE + 1))

    path = rewrite_backup(harness, await harness.back_up(), fewer)

    with pytest.raises(BackupError, match=f"contact {PEOPLE} of {PEOPLE + 1}"):
        await harness.restore(path)

    assert await schema_revisions.current_revision(target) is None


async def test_interrupted_restore_is_reported_and_can_be_repeated(
    harness: BackupHarness, target: AsyncEngine
) -> None:
    path = await harness.back_up()

    def fewer(_name: str, content: bytes) -> bytes:
        return content.replace(b'"contact": %d' % PEOPLE, b'"contact": %d' % (PEOPLE + 1))

    # The restore stores the rows, but fails before it stores the revision. A process that is killed
    # at this point leaves the same state.
    with pytest.raises(BackupError, match="rows are missing"):
        await harness.restore(rewrite_backup(harness, path, fewer))

    with pytest.raises(StartError, match=r"was interrupted.*`--again`"):
        await migration_runner.upgrade(harness.target.require_database_url())
    with pytest.raises(StartError, match=r"was interrupted.*`--again`"):
        await require_matching_schema(harness.target)
    with pytest.raises(BackupError, match=r"was interrupted.*`--again`"):
        await harness.restore(path)
    await harness.restore(path, again=True)
    assert await query(target, "SELECT count(*) FROM contact") == [(PEOPLE,)]
    assert await schema_revisions.current_revision(target) == schema_revisions.head_revision()


async def test_complete_database_is_never_cleared(
    harness: BackupHarness, target: AsyncEngine
) -> None:
    path = await harness.back_up()
    await harness.restore(path)

    with pytest.raises(BackupError, match="not empty"):
        await harness.restore(path, again=True)

    assert await query(target, "SELECT count(*) FROM contact") == [(PEOPLE,)]


async def test_file_that_is_not_a_backup_is_refused(harness: BackupHarness) -> None:
    path = harness.folder / "other"
    with path.open("wb") as file, archive.writing(file, [harness.identity.to_public()]) as members:
        archive.add_member(members, "readme.txt", b"hello")

    with pytest.raises(BackupError, match="not a backup of crm-api"):
        await harness.restore(path)


async def test_backup_never_replaces_another(harness: BackupHarness) -> None:
    path = await harness.back_up()

    with pytest.raises(BackupError, match="exists"):
        making.choose_target(path, made_at=NOW)
    named = making.choose_target(harness.folder, made_at=NOW)
    assert named == harness.folder / "crm-20261125T150000Z.tar.age"
    east = NOW.astimezone(timezone(timedelta(hours=2)))
    assert making.choose_target(harness.folder, made_at=east) == named


async def test_failed_dump_leaves_no_file(
    harness: BackupHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "crm_api.domain.monitoring.backups.postgres.program", lambda *_: Path("/bin/false")
    )

    with pytest.raises(BackupError, match="pg_dump failed"):
        await harness.back_up()

    assert [path for path in harness.folder.iterdir() if path.name.startswith("backup")] == []
