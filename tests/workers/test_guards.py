"""No message is sent while the clocks of this machine and of the database differ."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps, open_ledger

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.workers import guards
from crm_api.workers.campaigns import drain_campaigns, process_campaign_queue
from crm_api.workers.messaging import resolve_unknown_sends, send_messages


async def _move_database_clock(connection: AsyncConnection, seconds: int) -> None:
    """Set the clock of the database ``seconds`` ahead, only in this transaction."""
    await connection.execute(text("CREATE SCHEMA skewed"))
    await connection.execute(
        text(
            "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
            f"'SELECT pg_catalog.clock_timestamp() + interval ''{seconds} seconds'''"
        )
    )
    await connection.execute(text("SET LOCAL search_path = skewed, pg_catalog, public"))


@pytest.mark.parametrize("seconds", [-60, -6, 6, 60])
async def test_wrong_clock_of_the_database_stops_sending_with_an_alert(
    settings: Settings,
    connection: AsyncConnection,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    seconds: int,
) -> None:
    ledger = await open_ledger(new_uow, people=1)
    await _move_database_clock(connection, seconds)
    requests: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request.method)
        return httpx.Response(202, json={"data": {"id": "AC1"}})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        ctx: dict[str, Any] = {"deps": make_deps(settings, new_uow, queue, client)}
        await process_campaign_queue(ctx)

    (alert,) = await ledger.rows("SELECT kind, subject FROM alert")
    assert (alert.kind, alert.subject) == ("clock_skew", "database")
    assert requests == []
    assert await ledger.attempts() == []


async def test_run_claims_nothing_while_the_clock_is_wrong(
    settings: Settings,
    connection: AsyncConnection,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
) -> None:
    ledger = await open_ledger(new_uow, people=1)
    await _move_database_clock(connection, -60)

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(_refuse)
    ) as client:
        await drain_campaigns(make_deps(settings, new_uow, queue, client))

    assert await ledger.attempts() == []


async def test_no_attempt_is_settled_while_the_clock_is_wrong(
    settings: Settings,
    connection: AsyncConnection,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
) -> None:
    ledger = await open_ledger(new_uow, ago=3600, people=2)
    then = clock.now() - timedelta(seconds=3600)
    await ledger.begin_calls(limit=1, now=then)
    await ledger.claim(limit=1, now=then)
    before = [row.status for row in await ledger.attempts()]
    await _move_database_clock(connection, -60)

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(_refuse)
    ) as client:
        ctx: dict[str, Any] = {"deps": make_deps(settings, new_uow, queue, client)}
        await resolve_unknown_sends(ctx)

    assert [row.status for row in await ledger.attempts()] == before
    assert await ledger.alerts() == {"clock_skew"}


async def test_no_queued_message_is_sent_while_the_clock_is_wrong(
    settings: Settings,
    connection: AsyncConnection,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
) -> None:
    ledger = await open_ledger(new_uow, people=1)
    await _move_database_clock(connection, 60)

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(_refuse)
    ) as client:
        ctx: dict[str, Any] = {"deps": make_deps(settings, new_uow, queue, client)}
        await send_messages(ctx)

    assert await ledger.alerts() == {"clock_skew"}


def _refuse(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.method} {request.url} was requested")


async def test_clock_that_is_set_is_detected_and_a_drifting_clock_is_not() -> None:
    ahead = iter([100.0, 100.4, 96.0, 104.0, -3500.0])

    await guards.wait_until_clock_is_set(lambda: next(ahead), look_seconds=0)

    assert list(ahead) == []
