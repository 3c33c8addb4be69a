"""Prove that lists and statistics are read from a replica that is not too far behind.

If the replica is too far behind, they are read from the primary. The replica is a real PostgreSQL.
"""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fakes import RecordingQueue
from tests.machines.servers import is_up, owner_of, running, wait_until

from crm_api.platform.database import open_engine, session_factory
from crm_api.platform.processes import child_command
from crm_api.platform.replica import Replica
from crm_api.platform.server_programs import find_postgres

BEHIND = timedelta(seconds=5)


@dataclass
class Time:
    now: float = 0.0


@dataclass
class Copy:
    """A streaming replica, and the clock with which its delay is measured."""

    url: str
    replica: Replica
    time: Time

    async def run(self, statement: str) -> object:
        async with open_engine(self.url, pool_size=1) as engine, engine.connect() as connection:
            return await connection.scalar(text(statement))

    async def catch_up(self, engine: AsyncEngine) -> None:
        """Wait until the replica has all rows. The clock that measures its delay does not move."""
        written = await write_out(engine)
        while not await self.run(f"SELECT pg_last_wal_replay_lsn() - '0/0' >= {written}"):
            pass
        await self.replica.look()


async def write_out(engine: AsyncEngine) -> int:
    """Make PostgreSQL write all committed changes to its log; return the position in the log.

    The PostgreSQL of the tests may delay this writing.
    """
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL synchronous_commit = on"))
        await connection.execute(text("SELECT pg_logical_emit_message(true, 'crm', '')"))
    async with engine.connect() as connection:
        return int(await connection.scalar(text("SELECT pg_current_wal_lsn() - '0/0'")) or 0)


@pytest.fixture(scope="module")
def replica_url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a streaming replica of the tests' PostgreSQL."""
    url = make_url(database_url)
    sockets = Path(unquote(str(url.query["host"])))
    account = owner_of(sockets)
    folder = sockets.parent / "replica"
    folder.mkdir(mode=0o700)
    os.chown(folder, *account.file_owner)
    binaries, cluster = find_postgres(), folder / "cluster"
    copy = ["-D", str(cluster), "-h", str(sockets), "-U", "postgres"]
    copied = subprocess.run(  # noqa: S603 - our own command
        child_command(
            [str(binaries / "pg_basebackup"), *copy, "-R", "-c", "fast", "--no-sync"],
            account=account,
            death_signal=9,
        ),
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert copied.returncode == 0, copied.stderr
    argv = [str(binaries / "postgres"), "-D", str(cluster), "-h", "", "-k", str(folder)]
    log = tmp_path_factory.mktemp("replica") / "log"
    with running(argv, account=account, is_ready=lambda: is_up(cluster), log=log) as process:
        yield f"postgresql+asyncpg://postgres@/{url.database}?host={quote(str(folder))}"
        process.terminate()
        wait_until(lambda: process.poll() is not None)


@pytest_asyncio.fixture
async def copy(
    replica_url: str, committed_db: AsyncEngine, committed_app: FastAPI
) -> AsyncIterator[Copy]:
    """Yield the replica, which the application uses."""
    time = Time()
    replica = Replica(
        replica_url,
        primary=session_factory(committed_db),
        queue=RecordingQueue(),
        most_behind=BEHIND,
        monotonic=lambda: time.now,
    )
    found = Copy(replica_url, replica, time)
    committed_app.state.crm = replace(committed_app.state.crm, replica=found.replica)
    await found.catch_up(committed_db)
    yield found
    await found.run("SELECT CASE WHEN pg_is_wal_replay_paused() THEN pg_wal_replay_resume() END")
    await found.replica.close()


async def add(client: httpx.AsyncClient, phone: str) -> str:
    made = await client.post("/v1/contacts", json={"phone": phone})
    assert made.status_code == 201
    return str(made.json()["id"])


async def listed(client: httpx.AsyncClient) -> list[str]:
    answer = await client.get("/v1/contacts")
    assert answer.status_code == 200
    return [contact["id"] for contact in answer.json()["data"]]


async def test_lists_are_read_from_the_replica_and_single_contacts_from_the_primary(
    copy: Copy, committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    old = await add(committed_client, "+16175550151")
    await copy.catch_up(committed_db)
    await copy.run("SELECT pg_wal_replay_pause()")
    new = await add(committed_client, "+16175550152")

    assert copy.replica.keeps_up
    assert await listed(committed_client) == [old]
    rows = await committed_client.get("/v1/contacts", headers={"Accept": "text/csv"})
    assert (old in rows.text, new in rows.text) == (True, False)
    assert (await committed_client.get(f"/v1/contacts/{new}")).status_code == 200


async def test_replica_that_lags_is_not_read_until_it_has_caught_up(
    copy: Copy, committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    await copy.run("SELECT pg_wal_replay_pause()")
    new = await add(committed_client, "+16175550153")
    await write_out(committed_db)
    copy.time.now = 1.0
    await copy.replica.look()
    early = await listed(committed_client)
    copy.time.now = 1.0 + BEHIND.total_seconds()
    await copy.replica.look()
    late = await listed(committed_client)
    ready = (await committed_client.get("/readyz")).json()["checks"]["replica"]
    await copy.run("SELECT pg_wal_replay_resume()")
    await copy.catch_up(committed_db)

    assert early == []
    assert (late, ready) == ([new], "degraded")
    assert copy.replica.keeps_up


async def test_request_reads_from_the_primary_if_the_replica_is_unreachable(
    copy: Copy, committed_client: httpx.AsyncClient, committed_app: FastAPI
) -> None:
    new = await add(committed_client, "+16175550154")
    unreachable = Replica(
        "postgresql+asyncpg://postgres@/crm?host=/nowhere",
        primary=copy.replica.primary,
        queue=RecordingQueue(),
        most_behind=BEHIND,
    )
    unreachable.keeps_up = True
    committed_app.state.crm = replace(committed_app.state.crm, replica=unreachable)

    assert await listed(committed_client) == [new]
    assert not unreachable.keeps_up
    await unreachable.close()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/contacts?q=ada",
        "/v1/campaigns",
        "/v1/conversations",
        "/v1/calls",
        "/v1/properties",
        "/v1/audit-log",
        "/v1/webhook-events",
        "/v1/webhook-events/errors",
        "/v1/lists/{list}/contacts",
        "/v1/segments/{segment}/count",
        "/v1/segments/{segment}/contacts",
        "/v1/campaigns/{campaign}/stats",
        "/v1/campaigns/{campaign}/forecast",
        "/v1/campaigns/{campaign}/recipients",
    ],
)
async def test_requests_to_the_replica_write_nothing(
    path: str, copy: Copy, committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    where = await create_resources(committed_client)
    await copy.catch_up(committed_db)

    answer = await committed_client.get(path.format(**where))

    assert copy.replica.keeps_up
    assert answer.status_code == 200, answer.text


async def create_resources(client: httpx.AsyncClient) -> dict[str, str]:
    """Create a list, a segment and a campaign; return their ids."""

    async def make(path: str, body: dict[str, object]) -> str:
        answer = await client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    people = await make("/v1/lists", {"name": "All"})
    line = await make(
        "/v1/lines", {"phone_number_id": "PN1", "number": "+16175550100", "name": "Office"}
    )
    rule = {"field": "city", "op": "eq", "value": "Boston"}
    return {
        "list": people,
        "segment": await make("/v1/segments", {"name": "Here", "filter": rule}),
        "campaign": await make(
            "/v1/campaigns",
            {
                "name": "Spring",
                "line_id": line,
                "audience": {"list_id": people},
                "variants": [{"name": "A", "body": "Hi, Granite. STOP ends.", "weight": 100}],
            },
        ),
    }
