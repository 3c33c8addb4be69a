"""The schemas on which a process starts, and the time for which a migration waits."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.conftest import SECRET
from tests.dev.test_up import command
from tests.migrations.support import connected_engine, own_database

from crm_api.dev.embedded_servers import ServerUrls
from crm_api.domain.monitoring.key_rotation import with_secret
from crm_api.domain.monitoring.sandbox_control.clock_moves import refuse_moved_time
from crm_api.platform import migration_runner, schema_revisions
from crm_api.platform.database import open_engine
from crm_api.platform.processes import StartError
from crm_api.platform.schema_revisions import SchemaState, require_matching_schema
from crm_api.platform.settings import Settings

LATER = "99991231_0001"
"""A revision that this code does not know."""
HEAD = schema_revisions.head_revision()
EARLIER = "20261126_0038"


def as_if(revision: str, since: str) -> tuple[str, str]:
    return (
        f"UPDATE alembic_version SET version_num = '{revision}'",
        f"COMMENT ON TABLE alembic_version IS 'serves code since {since}'",
    )


@pytest_asyncio.fixture
async def own_url(engine: AsyncEngine) -> AsyncIterator[str]:
    async with own_database(engine, "crm_standing") as url:
        yield url


def process(*arguments: str, url: str, urls: ServerUrls) -> tuple[int, str]:
    ran = command(
        *arguments,
        CRM_DATABASE_URL=url,
        CRM_REDIS_URL=urls.redis_url or "",
        CRM_SECRET_KEY=SECRET,
        CRM_PORT="1",
    )
    return ran.returncode, ran.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("schema_state", "says"),
    [
        (SchemaState(HEAD, EARLIER), None),
        (SchemaState(None, None), "has revision (none), but this release needs"),
        (
            SchemaState(EARLIER, EARLIER),
            f"revision {EARLIER}, but this release needs {HEAD}; run `crm-api",
        ),
        (SchemaState(LATER, HEAD), None),
        (SchemaState(LATER, EARLIER), None),
        (SchemaState(LATER, "99991231_0000"), "a later release has migrated the database's schema"),
        (SchemaState(LATER, None), "a later release has migrated the database's schema"),
    ],
    ids=[
        "same",
        "none",
        "earlier",
        "later, serves this",
        "later, serves earlier",
        "later, serves only later",
        "later, not recorded",
    ],
)
def test_code_runs_on_its_own_schema_and_on_a_later_one_that_serves_it(
    schema_state: SchemaState, says: str | None
) -> None:
    trouble = schema_state.trouble()

    assert (trouble is None) if says is None else (says in (trouble or ""))


async def test_processes_do_not_start_on_a_schema_that_does_not_serve_them(
    own_url: str, urls: ServerUrls
) -> None:
    never = process("worker", url=own_url, urls=urls)
    await migration_runner.upgrade(own_url)
    async with connected_engine(own_url) as engine, engine.begin() as connection:
        for statement in as_if(LATER, LATER):
            await connection.exec_driver_sql(statement)
    serve = process("serve", url=own_url, urls=urls)

    assert never[0] == serve[0] == 1
    assert "run `crm-api migrate` first" in never[1]
    assert "start that release" in serve[1]
    assert never[1].startswith("crm-api: ")
    with pytest.raises(StartError, match="start that release"):
        await migration_runner.upgrade(own_url)


async def test_code_starts_on_the_schema_of_the_next_release(own_url: str) -> None:
    await migration_runner.upgrade(own_url)
    async with connected_engine(own_url) as engine:
        async with engine.begin() as connection:
            for statement in as_if(LATER, HEAD):
                await connection.exec_driver_sql(statement)

        await migration_runner.upgrade(own_url)
        await require_matching_schema(Settings.from_env({"CRM_DATABASE_URL": own_url}))

        assert await schema_revisions.current_revision(engine) == LATER


async def test_migration_records_the_oldest_revision_that_the_schema_serves(
    connection: AsyncConnection,
) -> None:
    schema_state = await schema_revisions.read_schema_state(connection)

    assert schema_state == SchemaState(HEAD, schema_revisions.serves_since())


@pytest.mark.parametrize(
    ("since", "status"), [(HEAD, 200), (LATER, 503)], ids=["serves", "does not serve"]
)
async def test_readiness_depends_on_whether_the_schema_serves_the_code(
    client: httpx.AsyncClient, connection: AsyncConnection, since: str, status: int
) -> None:
    for statement in as_if(LATER, since):
        await connection.exec_driver_sql(statement)

    answer = await client.get("/readyz")

    assert answer.status_code == status
    assert (answer.json()["checks"]["migrations"] == "ok") is (status == 200)


async def test_unreachable_database_does_not_prevent_a_start() -> None:
    away = Settings.from_env({"CRM_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})

    await require_matching_schema(away)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond as PostgreSQL does while it starts: with the error 57P03 instead of a connection."""
    await reader.read(1024)
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
    await writer.drain()
    writer.close()


async def test_process_waits_for_a_starting_database_and_names_it_in_the_error() -> None:
    async with await asyncio.start_server(_refuse, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable"
        starting = Settings.from_env({"CRM_DATABASE_URL": url, "CRM_SECRET_KEY": SECRET})

        await require_matching_schema(starting)
        await refuse_moved_time(starting.model_copy(update={"openphone_api_key": SecretStr("a")}))
        with pytest.raises(StartError, match=r"reached \(the database system is starting"):
            await with_secret(starting, patience=0)


async def test_process_that_was_suspended_still_tries_several_times() -> None:
    tries = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await _refuse(reader, writer)

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable"
        settings = Settings.from_env({"CRM_DATABASE_URL": url, "CRM_SECRET_KEY": SECRET})
        with pytest.raises(StartError):
            await with_secret(settings, patience=0.001)

    assert tries == 4


async def test_migration_gives_up_on_a_table_in_use_and_succeeds_later(own_url: str) -> None:
    await migration_runner.upgrade(own_url, revision=EARLIER)
    async with connected_engine(own_url) as engine, engine.connect() as user:
        await user.execute(text("LOCK TABLE alembic_version"))
        async with connected_engine(own_url) as other, other.connect() as migrating:
            with pytest.raises(StartError, match="in use at each of 5 tries"):
                await migrating.run_sync(
                    migration_runner.run, target="head", lock_seconds=0.02, pause_seconds=0
                )
        await user.rollback()

    await migration_runner.upgrade(own_url)

    async with connected_engine(own_url) as engine:
        assert await schema_revisions.current_revision(engine) == HEAD


async def test_schema_that_is_up_to_date_is_not_migrated_again(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migration_runner.upgrade(own_url)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("alembic.command.upgrade", fail)
    await migration_runner.upgrade(own_url)


async def test_statement_over_the_time_limit_is_cancelled(own_url: str) -> None:
    async with (
        open_engine(own_url, pool_size=1, statement_seconds=1) as engine,
        engine.connect() as connection,
    ):
        shown = await connection.scalar(text("SHOW statement_timeout"))
        await connection.execute(text("SET LOCAL statement_timeout = 10"))
        with pytest.raises(DBAPIError, match="statement timeout"):
            await connection.execute(text("SELECT pg_sleep(5)"))

    assert shown == "1s"
