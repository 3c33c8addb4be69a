"""Months are made ahead; those whose time is over are archived, read back, and then dropped."""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fakes import RecordingQueue
from tests.migrations.support import connected_engine, own_database
from tests.workers.drain import make_deps

from crm_api.db import UnitOfWork, session_factory
from crm_api.domain.activity.models import Activity
from crm_api.domain.media.store import path_of
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.retention import archive
from crm_api.domain.retention.errors import ArchiveNotKeptError
from crm_api.domain.retention.tables import WEBHOOK_EVENT, Month
from crm_api.domain.webhooks.models import WebhookEvent, WebhookEventKey
from crm_api.migrate import upgrade
from crm_api.settings import Settings
from crm_api.workers.retention import keep_months

BEGAN = datetime(2026, 11, 10, tzinfo=UTC)
LATER = datetime(2027, 3, 5, tzinfo=UTC)
"""More than two months after it all began."""


def id_at(at: datetime, number: int = 1) -> UUID:
    """An id as one that is made at that instant."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | number)


class House:
    """A database of its own, the worker's deps, and what lies in the archive."""

    def __init__(self, engine: AsyncEngine, settings: Settings, provider: OpenPhoneClient) -> None:
        self.engine = engine
        self.sessions = session_factory(engine)
        queue = RecordingQueue()
        self.deps = make_deps(settings, lambda: UnitOfWork(self.sessions, queue), queue, provider)
        self.place = settings.data_dir / "media" / "archive"

    async def work(self, *, now: datetime = LATER, **settings: Any) -> None:
        changed = {"webhook_event_months": 2, **settings}
        self.deps.settings = self.deps.settings.model_copy(update=changed)
        await keep_months(self.deps, now=lambda: now)

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.sessions() as session:
            return [tuple(row) for row in await session.execute(text(statement))]

    async def months(self, table: str) -> list[str]:
        """What the table is made of."""
        found = await self.rows(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            f"WHERE inhparent = '{table}'::regclass ORDER BY 1"
        )
        return [name for (name,) in found]

    async def add(self, *rows: object) -> None:
        async with self.sessions() as session, session.begin():
            session.add_all(rows)

    def archived(self, name: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """The rows of an archive and what is said of it."""
        raw = gzip.decompress((self.place / f"{name}.csv.gz").read_bytes())
        said = json.loads((self.place / f"{name}.json").read_text())
        assert said["sha256"] == hashlib.sha256(raw).hexdigest()
        return list(csv.DictReader(io.StringIO(raw.decode()))), said


@pytest_asyncio.fixture(scope="module")
async def migrated(engine: AsyncEngine) -> AsyncIterator[str]:
    """The name of a migrated database to copy."""
    async with own_database(engine, "crm_months_new") as url:
        await upgrade(url)
        yield "crm_months_new"


@pytest_asyncio.fixture
async def house(
    engine: AsyncEngine, migrated: str, settings: Settings, provider: OpenPhoneClient
) -> AsyncIterator[House]:
    async with (
        own_database(engine, "crm_months", template=migrated) as url,
        connected_engine(url) as own,
    ):
        yield House(own, settings, provider)


def event(at: datetime, number: int = 1, **values: Any) -> WebhookEvent:
    given: dict[str, Any] = {"status": "processed", "payload": {"text": "My basement is wet"}}
    return WebhookEvent(
        id=id_at(at, number),
        provider_event_id=f"EV{number}",
        scheme="legacy",
        type="message.received",
        next_attempt_at=at,
        received_at=at,
        **given | values,
    )


def message(at: datetime, number: int = 1, **values: Any) -> Activity:
    given: dict[str, Any] = {
        "openphone_id": f"AC{number}",
        "status": "received",
        "body": "My basement is wet",
    }
    return Activity(
        id=id_at(at, number),
        kind="message",
        direction="incoming",
        origin="provider",
        phone="+16175550142",
        occurred_at=at,
        created_at=at,
        updated_at=at,
        **given | values,
    )


async def test_months_are_made_before_they_begin(house: House) -> None:
    await house.work(now=datetime(2027, 4, 30, 23, tzinfo=UTC), webhook_event_months=24)

    for table in ("activity", "webhook_event"):
        months = await house.months(table)
        assert months[-2:] == [f"{table}_2027_06", f"{table}_default"]
        assert len(months) == 8 + 1


async def test_what_came_before_its_month_was_made_moves_there(house: House) -> None:
    at = datetime(2027, 2, 15, tzinfo=UTC)
    await house.add(message(at), event(at))

    await house.work(now=at)

    for table in ("activity", "webhook_event"):
        assert await house.rows(f"SELECT id FROM {table}_2027_02") == [(id_at(at),)]
        assert await house.rows(f"SELECT id FROM {table}_default") == []
    assert await house.rows("SELECT activity_id FROM activity_key") == [(id_at(at),)]


async def test_old_month_is_archived_and_dropped(house: House) -> None:
    new = datetime(2027, 3, 1, tzinfo=UTC)
    await house.add(event(BEGAN, 1), event(BEGAN, 2), event(new, 3))
    await house.add(
        *(
            WebhookEventKey(provider_event_id=f"EV{n}", event_id=id_at(at, n))
            for n, at in ((1, BEGAN), (2, BEGAN), (3, new))
        )
    )

    await house.work(webhook_event_months=2)

    assert (await house.months("webhook_event"))[0] == "webhook_event_2027_01"
    assert await house.rows("SELECT provider_event_id FROM webhook_event") == [("EV3",)]
    assert await house.rows("SELECT provider_event_id FROM webhook_event_key") == [("EV3",)]
    assert await house.rows("SELECT to_regclass('webhook_event_2026_11')") == [(None,)]
    kept, said = house.archived("webhook_event/2026-11")
    assert [row["provider_event_id"] for row in kept] == ["EV1", "EV2"]
    assert said["rows"] == 2
    told = await house.rows(
        "SELECT detail ->> 'sha256' FROM audit_log WHERE subject = "
        "'webhook_event_2026_11' AND action = 'archive_month'"
    )
    assert told == [(said["sha256"],)]


async def test_messages_are_kept_for_ever_unless_asked(house: House) -> None:
    await house.add(message(BEGAN))

    await house.work()

    assert (await house.months("activity"))[0] == "activity_2026_11"


async def test_archive_of_messages_names_nobody(house: House) -> None:
    await house.add(message(BEGAN, contact_id=id_at(BEGAN, 9)))

    await house.work(activity_months=2)

    [kept], _ = house.archived("activity/2026-11")
    assert (kept["id"], kept["contact_id"]) == (str(id_at(BEGAN)), str(id_at(BEGAN, 9)))
    assert not {"phone", "body", "media", "call"} & kept.keys()
    assert await house.rows("SELECT 1 FROM activity_key") == []


async def test_files_of_dropped_messages_go_with_them(house: House) -> None:
    await house.add(message(BEGAN))
    sha256 = hashlib.sha256(b"picture").hexdigest()
    stored = house.place.parent / path_of(sha256)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"picture")
    async with house.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO media (id, sha256, content_type, size_bytes, created_at) "
                "VALUES (:id, :sha256, 'image/png', 7, now())"
            ),
            {"id": id_at(BEGAN), "sha256": sha256},
        )
        await connection.execute(
            text(
                "INSERT INTO media_fetch (id, activity_id, kind, url, status, attempts, "
                "next_attempt_at, media_id, created_at, updated_at) VALUES (:id, :id, 'picture', "
                "'https://media.example.com/1', 'stored', 1, now(), :id, now(), now())"
            ),
            {"id": id_at(BEGAN)},
        )

    await house.work(activity_months=2)

    assert await house.rows("SELECT 1 FROM media UNION ALL SELECT 1 FROM media_fetch") == []
    assert not stored.exists()


@pytest.mark.parametrize(
    ("table", "row", "kept"),
    [
        ("webhook_event", lambda: event(BEGAN, status="failed"), {}),
        ("activity", lambda: message(BEGAN, status="unknown"), {"activity_months": 2}),
    ],
    ids=["an event", "a text"],
)
async def test_month_with_something_that_waits_stays(
    house: House, table: str, row: Callable[[], object], kept: dict[str, Any]
) -> None:
    await house.add(row())

    await house.work(**kept)

    assert (await house.months(table))[0] == f"{table}_2026_11"
    assert await house.rows("SELECT kind, subject FROM alert") == [
        ("month_not_dropped", f"{table}_2026_11")
    ]


async def test_nothing_is_dropped_without_its_archive(house: House, tmp_path: Path) -> None:
    await house.add(event(BEGAN))
    no_folder = tmp_path / "file"
    no_folder.write_text("in the way")

    await house.work(archive_url=str(no_folder))

    assert await house.rows("SELECT provider_event_id FROM webhook_event_2026_11") == [("EV1",)]
    raised = await house.rows("SELECT subject FROM alert WHERE kind = 'archive_not_kept'")
    assert ("webhook_event_2026_11",) in raised

    await house.work(archive_url=str(tmp_path / "bucket"))

    assert await house.rows("SELECT to_regclass('webhook_event_2026_11')") == [(None,)]
    assert (tmp_path / "bucket" / "webhook_event" / "2026-11.csv.gz").exists()
    assert await house.rows("SELECT 1 FROM alert WHERE resolved_at IS NULL") == []


async def test_archive_that_cannot_be_read_back_does_not_count(
    house: House, tmp_path: Path
) -> None:
    await house.add(event(BEGAN))
    month = Month(WEBHOOK_EVENT, "webhook_event_2026_11", BEGAN.date().replace(day=1), True)
    archived = await archive.keep(house.deps.new_uow, month, location=tmp_path)
    path = tmp_path / archived.path
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(ValueError, match="not what was written"):
        await archive._verify(tmp_path, archived)
    with pytest.raises(ArchiveNotKeptError):
        await archive.keep(house.deps.new_uow, month, location=path)
