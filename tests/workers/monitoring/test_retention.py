"""Monthly partitions are created in advance; expired partitions are archived and dropped."""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
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

from crm_api.domain.consent.models import ReplyExample
from crm_api.domain.inbound.webhook_events.models import WebhookEvent, WebhookEventKey
from crm_api.domain.insight.measures.models import InsightAnswer
from crm_api.domain.messaging.media.store import path_of
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.monitoring.retention import archive, months
from crm_api.domain.monitoring.retention.archive import (
    ACTIVITY,
    WEBHOOK_EVENT,
    ArchiveFailedError,
    Month,
    month_of,
)
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork, session_factory
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.settings import Settings
from crm_api.workers.monitoring import maintain_months

BEGAN = datetime(2026, 11, 10, tzinfo=UTC)
LATER = datetime(2027, 3, 5, tzinfo=UTC)
"""An instant more than two months after ``BEGAN``, when old partitions have expired."""


def id_at(at: datetime, number: int = 1) -> UUID:
    """Return an id that the service could create at this instant."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | number)


class Bench:
    """A separate database, the dependencies of a worker, and the files of the archive."""

    def __init__(self, engine: AsyncEngine, settings: Settings, provider: OpenPhoneClient) -> None:
        self.engine = engine
        self.sessions = session_factory(engine)
        queue = RecordingQueue()
        self.deps = make_deps(settings, lambda: UnitOfWork(self.sessions, queue), queue, provider)
        self.folder = settings.data_dir / "media" / "archive"

    async def run_job(self, *, now: datetime = LATER, **settings: Any) -> None:
        changed = {"webhook_event_months": 2, **settings}
        self.deps.settings = self.deps.settings.model_copy(update=changed)
        await maintain_months(self.deps, now=lambda: now)

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.sessions() as session:
            return [tuple(row) for row in await session.execute(text(statement))]

    async def months(self, table: str) -> list[str]:
        """Return the names of the partitions of a table."""
        found = await self.rows(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            f"WHERE inhparent = '{table}'::regclass ORDER BY 1"
        )
        return [name for (name,) in found]

    async def add(self, *rows: object) -> None:
        async with self.sessions() as session, session.begin():
            session.add_all(rows)

    def archived(self, name: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Return the rows and the description of an archive, after a check of its checksum."""
        raw = gzip.decompress((self.folder / f"{name}.csv.gz").read_bytes())
        description = json.loads((self.folder / f"{name}.json").read_text())
        assert description["sha256"] == hashlib.sha256(raw).hexdigest()
        return list(csv.DictReader(io.StringIO(raw.decode()))), description


@pytest_asyncio.fixture(scope="module")
async def migrated(engine: AsyncEngine) -> AsyncIterator[str]:
    """Yield the name of a template database that was migrated in the month of ``BEGAN``."""
    async with own_database(engine, "crm_months_new") as url:
        await upgrade(url)
        async with connected_engine(url) as own, session_factory(own).begin() as session:
            for table in (ACTIVITY, WEBHOOK_EVENT):
                for month in await months.list_months(session, table):
                    await session.execute(text(f"DROP TABLE {month.name}"))
                for later in range(3):
                    month_begins = month_of(BEGAN.date(), later=later)
                    await months.add_month(session, table, month=month_begins)
        yield "crm_months_new"


@pytest_asyncio.fixture
async def bench(
    engine: AsyncEngine, migrated: str, settings: Settings, provider: OpenPhoneClient
) -> AsyncIterator[Bench]:
    async with (
        own_database(engine, "crm_months", template=migrated) as url,
        connected_engine(url) as own,
    ):
        yield Bench(own, settings, provider)


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


def example(at: datetime, number: int = 1) -> ReplyExample:
    return ReplyExample(
        activity_id=id_at(at, number),
        phone_hash=b"hash",
        body="My basement is wet",
        is_sale=False,
        read_as="none",
        reading={},
        label="stop",
        decision="opt_out",
        decided_at=at,
        created_at=at,
    )


async def test_months_are_created_before_they_begin(bench: Bench) -> None:
    await bench.run_job(now=datetime(2027, 4, 30, 23, tzinfo=UTC), webhook_event_months=24)

    for table in ("activity", "webhook_event"):
        found = await bench.months(table)
        assert found[-2:] == [f"{table}_2027_06", f"{table}_default"]
        assert len(found) == 8 + 1


async def test_rows_of_the_default_partition_move_to_their_new_partition(bench: Bench) -> None:
    at = datetime(2027, 2, 15, tzinfo=UTC)
    await bench.add(message(at), event(at))

    await bench.run_job(now=at)

    for table in ("activity", "webhook_event"):
        assert await bench.rows(f"SELECT id FROM {table}_2027_02") == [(id_at(at),)]
        assert await bench.rows(f"SELECT id FROM {table}_default") == []
    assert await bench.rows("SELECT activity_id FROM activity_key") == [(id_at(at),)]


async def test_old_month_is_archived_and_dropped(bench: Bench) -> None:
    new = datetime(2027, 3, 1, tzinfo=UTC)
    await bench.add(event(BEGAN, 1), event(BEGAN, 2), event(new, 3))
    await bench.add(
        *(
            WebhookEventKey(provider_event_id=f"EV{n}", event_id=id_at(at, n))
            for n, at in ((1, BEGAN), (2, BEGAN), (3, new))
        )
    )

    await bench.run_job(webhook_event_months=2)

    assert (await bench.months("webhook_event"))[0] == "webhook_event_2027_01"
    assert await bench.rows("SELECT provider_event_id FROM webhook_event") == [("EV3",)]
    assert await bench.rows("SELECT provider_event_id FROM webhook_event_key") == [("EV3",)]
    assert await bench.rows("SELECT to_regclass('webhook_event_2026_11')") == [(None,)]
    kept, description = bench.archived("webhook_event/2026-11")
    assert [row["provider_event_id"] for row in kept] == ["EV1", "EV2"]
    assert description["rows"] == 2
    stored_digest = await bench.rows(
        "SELECT detail ->> 'sha256' FROM audit_log WHERE subject = "
        "'webhook_event_2026_11' AND action = 'archive_month'"
    )
    assert stored_digest == [(description["sha256"],)]


async def test_messages_are_kept_for_ever_by_default(bench: Bench) -> None:
    await bench.add(message(BEGAN))

    await bench.run_job()

    assert (await bench.months("activity"))[0] == "activity_2026_11"


async def test_archive_of_messages_contains_no_number_and_no_text(bench: Bench) -> None:
    await bench.add(message(BEGAN, contact_id=id_at(BEGAN, 9)))

    await bench.run_job(activity_months=2)

    [kept], _ = bench.archived("activity/2026-11")
    assert (kept["id"], kept["contact_id"]) == (str(id_at(BEGAN)), str(id_at(BEGAN, 9)))
    assert not {"phone", "body", "media", "call"} & kept.keys()
    assert await bench.rows("SELECT 1 FROM activity_key") == []


async def test_files_of_dropped_messages_are_deleted(bench: Bench) -> None:
    await bench.add(message(BEGAN))
    sha256 = hashlib.sha256(b"picture").hexdigest()
    stored = bench.folder.parent / path_of(sha256)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"picture")
    async with bench.engine.begin() as connection:
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

    await bench.run_job(activity_months=2)

    assert await bench.rows("SELECT 1 FROM media UNION ALL SELECT 1 FROM media_fetch") == []
    assert not stored.exists()


async def test_reply_examples_of_dropped_messages_are_deleted(bench: Bench) -> None:
    for at in (BEGAN, LATER):
        await bench.add(message(at, at.month), example(at, at.month))

    await bench.run_job(activity_months=2)

    assert await bench.rows("SELECT activity_id FROM reply_example") == [
        (id_at(LATER, LATER.month),)
    ]


async def test_stored_answers_of_a_dropped_month_are_deleted(bench: Bench) -> None:
    """Prove that a stored answer of the dropped month is deleted.

    A later answer in the same conversation must be computed again.
    """
    talk, other = id_at(BEGAN, 7), id_at(BEGAN, 8)
    later = BEGAN + timedelta(days=70)
    await bench.add(
        *(message(at, place, conversation_id=talk) for place, at in enumerate((BEGAN, later), 1))
    )
    async with bench.sessions() as session, session.begin():
        await session.execute(text("TRUNCATE insight_answer_change"))
        session.add_all(
            InsightAnswer(id=id_at(at, place), conversation_id=one, at=at, waited=5)
            for place, at, one in ((1, BEGAN, talk), (2, later, talk), (3, later, other))
        )

    await bench.run_job(activity_months=2)

    stored = await bench.rows("SELECT id FROM insight_answer ORDER BY id")
    assert stored == [(id_at(later, 2),), (id_at(later, 3),)]
    changed = await bench.rows("SELECT conversation_id, at FROM insight_answer_change")
    assert changed == [(talk, later)]


@pytest.mark.parametrize(
    ("table", "row", "kept"),
    [
        ("webhook_event", lambda: event(BEGAN, status="failed"), {}),
        ("activity", lambda: message(BEGAN, status="unknown"), {"activity_months": 2}),
    ],
    ids=["an event", "a message"],
)
async def test_month_with_unfinished_work_is_not_dropped(
    bench: Bench, table: str, row: Callable[[], object], kept: dict[str, Any]
) -> None:
    await bench.add(row())

    await bench.run_job(**kept)

    assert (await bench.months(table))[0] == f"{table}_2026_11"
    assert await bench.rows("SELECT kind, subject FROM alert") == [
        ("month_not_dropped", f"{table}_2026_11")
    ]


async def test_month_is_not_dropped_without_its_archive(bench: Bench, tmp_path: Path) -> None:
    await bench.add(event(BEGAN))
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("in the way")

    await bench.run_job(archive_url=str(not_a_folder))

    assert await bench.rows("SELECT provider_event_id FROM webhook_event_2026_11") == [("EV1",)]
    raised = await bench.rows("SELECT subject FROM alert WHERE kind = 'archive_not_kept'")
    assert ("webhook_event_2026_11",) in raised

    await bench.run_job(archive_url=str(tmp_path / "bucket"))

    assert await bench.rows("SELECT to_regclass('webhook_event_2026_11')") == [(None,)]
    assert (tmp_path / "bucket" / "webhook_event" / "2026-11.csv.gz").exists()
    assert await bench.rows("SELECT 1 FROM alert WHERE resolved_at IS NULL") == []


async def test_archive_that_cannot_be_read_back_is_refused(bench: Bench, tmp_path: Path) -> None:
    await bench.add(event(BEGAN))
    month = Month(WEBHOOK_EVENT, "webhook_event_2026_11", BEGAN.date().replace(day=1), True)
    archived = await archive.archive_month(bench.deps.new_uow, month, location=tmp_path)
    path = tmp_path / archived.path
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(ValueError, match="differs from the data that were written to it"):
        await archive._verify(tmp_path, archived)
    with pytest.raises(ArchiveFailedError):
        await archive.archive_month(bench.deps.new_uow, month, location=path)
