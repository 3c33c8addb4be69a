"""Prove that the service works through PgBouncer in transaction mode with few connections."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import ADMIN_KEY, NOW, SECRET
from tests.domain.inbound.webhook_events.support import incoming
from tests.fakes import RecordingQueue
from tests.machines.servers import Pooler, pgbouncer

from crm_api.cli.doctor_checks import Check, State
from crm_api.cli.doctor_database_checks import check_pooler
from crm_api.domain.identity.api_keys import authentication
from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.imports.contacts import merge_plan
from crm_api.domain.inbound.webhook_events.envelope import read_event
from crm_api.platform.database import UnitOfWork, create_engine, session_factory
from crm_api.platform.hot_reads import HotReads
from crm_api.platform.postgres import REQUEST_SECONDS, driver_url, require_direct
from crm_api.platform.settings import Settings, SettingsError
from crm_api.routers.inbound.event_intake import EventIntake

CONNECTIONS = 2
"""Number of connections from PgBouncer to PostgreSQL. The tests open more to PgBouncer."""


@pytest.fixture(scope="module")
def pooler(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooler]:
    folder = tmp_path_factory.mktemp("pooler")
    with pgbouncer(folder, database_url, default_pool_size=CONNECTIONS) as started:
        yield started


@pytest_asyncio.fixture
async def pooled(
    pooler: Pooler,
    committed_db: AsyncEngine,  # noqa: ARG001 - empties the tables afterwards
) -> AsyncIterator[AsyncEngine]:
    """Yield an engine whose connections go through PgBouncer."""
    engine = create_engine(
        pooler.url, pool_size=8, application="crm-api pooled", statement_seconds=REQUEST_SECONDS
    )
    yield engine
    await engine.dispose()


def settings_of(pooler: Pooler, **values: str) -> Settings:
    return Settings.from_env(
        {"CRM_DATABASE_URL": pooler.url, "CRM_SECRET_KEY": SECRET}
        | {f"CRM_{name.upper()}": value for name, value in values.items()}
    )


async def test_every_transaction_has_our_settings_and_leaves_none(
    pooled: AsyncEngine, pooler: Pooler
) -> None:
    names = ("jit", "idle_in_transaction_session_timeout", "TimeZone", "statement_timeout")
    shown = text("SELECT pg_sleep(0.01), " + ", ".join(f"current_setting('{n}')" for n in names))

    async def ask() -> tuple[str, ...]:
        async with pooled.connect() as connection:
            return tuple((await connection.execute(shown)).one())[1:]

    found = await asyncio.gather(*(ask() for _ in range(8)))
    stranger = await asyncpg.connect(driver_url(pooler.url))
    left = await stranger.fetchval("SHOW jit")
    await stranger.close()

    assert set(found) == {("off", "1min", "UTC", "30s")}
    assert left == "on"


async def test_prepared_statements_work_on_every_server_connection(pooled: AsyncEngine) -> None:
    statement = text("SELECT pg_backend_pid(), CAST(:number AS integer) + 1, pg_sleep(0.002)")

    async def ask(number: int) -> tuple[int, int]:
        async with pooled.connect() as connection:
            row = (await connection.execute(statement, {"number": number})).one()
            return row[0], row[1]

    answers = [await asyncio.gather(*(ask(number) for number in range(8))) for _ in range(5)]

    assert {tuple(answer for _, answer in one) for one in answers} == {tuple(range(1, 9))}
    assert len({pid for one in answers for pid, _ in one}) == CONNECTIONS


async def test_events_and_keys_are_handled_by_concurrent_callers(
    pooled: AsyncEngine, pooler: Pooler
) -> None:
    def new_uow() -> UnitOfWork:
        return UnitOfWork(session_factory(pooled), RecordingQueue())

    async with new_uow() as uow:
        await access.ensure_admin_key(uow, text=ADMIN_KEY, now=NOW)
    intake = EventIntake(pooler.url, queue=RecordingQueue())
    reads = HotReads(pooler.url, new_uow)
    await intake.start()
    await reads.start()
    bodies = [json.dumps(incoming("Hello", message_id=f"AC{n}")).encode() for n in range(40)]
    events = [read_event(body, scheme="2026-03-30", delivery_id=None) for body in bodies]

    async def use(number: int) -> str:
        await intake.store(events[number])
        return (await authentication.authenticate_api_key(reads, text=ADMIN_KEY, now=NOW)).name

    names = [await asyncio.gather(*(use(n) for n in range(s, s + 8))) for s in range(0, 40, 8)]
    await reads.close()
    await intake.close()

    async with pooled.connect() as connection:
        stored = await connection.scalar(text("SELECT count(*) FROM webhook_event"))

    assert stored == len(events)
    assert Counter(name for some in names for name in some).total() == len(events)


async def test_concurrent_imports_see_only_their_own_rows(pooled: AsyncEngine) -> None:
    sessions = session_factory(pooled)

    async def stage(people: int) -> int:
        async with sessions() as session, session.begin():
            await copy_people(session, people)
            await session.execute(text("SELECT pg_sleep(0.01)"))
            return int(await session.scalar(text("SELECT count(*) FROM import_person")) or 0)

    counted = [await asyncio.gather(*(stage(people) for people in range(1, 7))) for _ in range(3)]

    assert counted == [[1, 2, 3, 4, 5, 6]] * 3


async def copy_people(session: AsyncSession, people: int) -> None:
    for statement in merge_plan.MAKE_TABLES:
        await session.execute(statement)
    connection = await (await session.connection()).get_raw_connection()
    driver = connection.driver_connection
    assert driver is not None
    records = [(number,) for number in range(people)]
    await driver.copy_records_to_table("import_person", records=records, columns=["position"])


async def test_work_that_needs_a_session_asks_for_a_direct_connection(pooler: Pooler) -> None:
    with pytest.raises(SettingsError, match="set CRM_DATABASE_DIRECT_URL"):
        await require_direct(settings_of(pooler))

    past = await require_direct(settings_of(pooler, database_direct_url=pooler.direct_url))
    same = await require_direct(
        Settings.from_env({"CRM_DATABASE_URL": pooler.direct_url, "CRM_SECRET_KEY": SECRET})
    )

    assert past == same == pooler.direct_url


async def test_doctor_detects_the_pooler_and_a_pooler_without_prepared_statements(
    pooler: Pooler, database_url: str, tmp_path: Path
) -> None:
    direct = {"database_direct_url": pooler.direct_url}
    with pgbouncer(tmp_path, database_url, max_prepared_statements=0) as without_statements:
        broken = await check_pooler(settings_of(without_statements, **direct))

    assert await check_pooler(settings_of(pooler, **direct)) == [
        Check(
            "pooler",
            State.OK,
            "the pooler supports prepared statements, and a direct connection works",
        )
    ]
    assert [check.state for check in broken] == [State.BROKEN]
    assert "max_prepared_statements = 200" in broken[0].advice
    assert (
        await check_pooler(
            Settings.from_env({"CRM_DATABASE_URL": database_url, "CRM_SECRET_KEY": SECRET})
        )
        == []
    )
