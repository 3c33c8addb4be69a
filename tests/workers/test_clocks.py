"""Nothing is sent while this machine's clock and the database's do not agree."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps, open_ledger

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue


async def _set_off(connection: AsyncConnection, seconds: int) -> None:
    """Let the database's clock run so many seconds ahead, for this transaction."""
    await connection.execute(text("CREATE SCHEMA skewed"))
    await connection.execute(
        text(
            "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
            f"'SELECT pg_catalog.clock_timestamp() + interval ''{seconds} seconds'''"
        )
    )
    await connection.execute(text("SET LOCAL search_path = skewed, pg_catalog, public"))


@pytest.mark.parametrize("seconds", [-60, -6, 6, 60])
async def test_database_whose_clock_is_off_stops_sending_with_an_alert(
    settings: Settings,
    connection: AsyncConnection,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    seconds: int,
) -> None:
    ledger = await open_ledger(new_uow, people=1)
    await _set_off(connection, seconds)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(202, json={"data": {"id": "AC1"}})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        ctx: dict[str, Any] = {"deps": make_deps(settings, new_uow, queue, client)}
        await process_campaign_queue(ctx)

    (alert,) = await ledger.rows("SELECT kind, subject FROM alert")
    assert (alert.kind, alert.subject) == ("clock_skew", "database")
    assert asked == []
    assert await ledger.attempts() == []
