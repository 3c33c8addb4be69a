"""A web process handles webhooks, campaigns and pauses even if its clock is a day wrong."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_campaign, make_contact, make_line, make_list

from crm_api.domain.provider.openphone.signature import sign_standard
from crm_api.platform import clock
from crm_api.platform.settings import Settings

DAY = timedelta(days=1)
ERRORS = pytest.mark.parametrize("error", [-DAY, DAY], ids=["slow", "fast"])


@contextmanager
def host_clock(error: timedelta) -> Iterator[None]:
    """Simulate a wrong host clock: it differs by `error` until the ``with`` block ends."""
    clock.move(error)
    try:
        yield
    finally:
        clock.move(timedelta(0))


@ERRORS
async def test_webhook_is_stored(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    settings: Settings,
    error: timedelta,
) -> None:
    body = json.dumps(sample("2026-03-30/message.received")).encode()
    key = settings.webhook_secrets()[0]
    headers = sign_standard(key, body, delivery_id="msg_1", at=datetime.now(UTC))

    with host_clock(error):
        answer = await committed_client.post("/webhooks/openphone", content=body, headers=headers)

    assert answer.status_code == 200, answer.text
    async with async_sessionmaker(committed_db)() as session:
        assert await session.scalar(text("SELECT count(*) FROM webhook_event")) == 1


@ERRORS
async def test_campaign_to_a_new_contact_starts_now(
    client: httpx.AsyncClient, session: AsyncSession, error: timedelta
) -> None:
    line = await make_line(session)
    begun = datetime.now(UTC)
    contact = await make_contact(session)
    await session.execute(text("UPDATE contact SET created_at = now()"))
    homeowners = await make_list(session, contacts=[contact])
    draft = {
        "name": "Autumn check",
        "line_id": str(line.id),
        "audience": {"list_id": str(homeowners.id)},
        "variants": [{"name": "A", "body": "Hi {{ first_name }}", "weight": 100}],
    }

    with host_clock(error):
        made = await client.post("/v1/campaigns", json=draft)
        answer = await client.post(f"/v1/campaigns/{made.json()['id']}/start")

    assert answer.status_code == 200, answer.text
    started_at = datetime.fromisoformat(answer.json()["started_at"])
    assert begun <= started_at <= datetime.now(UTC)


@ERRORS
async def test_pause_and_resume_are_dated_by_the_database(
    client: httpx.AsyncClient, session: AsyncSession, error: timedelta
) -> None:
    campaign = await make_campaign(session, line=await make_line(session), status="running")
    begun = datetime.now(UTC)

    with host_clock(error):
        for move in ("pause", "resume"):
            answer = await client.post(f"/v1/campaigns/{campaign.id}/{move}")
            assert answer.status_code == 200, answer.text
            changed_at = datetime.fromisoformat(answer.json()["updated_at"])
            assert begun <= changed_at <= datetime.now(UTC)


@ERRORS
async def test_unblocking_a_line_ends_the_pause_of_the_provider(
    client: httpx.AsyncClient, session: AsyncSession, error: timedelta
) -> None:
    line = await make_line(session)
    statement = text("""
        INSERT INTO rate_limit (name, next_at, held_until, asked_seconds)
        SELECT 'openphone', until, until, 31536000
        FROM (SELECT now() + interval '10 minutes' AS until) AS pause
        ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at,
            held_until = excluded.held_until, asked_seconds = excluded.asked_seconds
    """)
    await session.execute(statement)
    await session.commit()

    with host_clock(error):
        answer = await client.post(f"/v1/lines/{line.id}/unblock")

    assert answer.status_code == 200, answer.text
    held_until, next_at = (
        await session.execute(text("SELECT held_until, next_at FROM rate_limit"))
    ).one()
    assert held_until is None
    assert next_at <= datetime.now(UTC)
