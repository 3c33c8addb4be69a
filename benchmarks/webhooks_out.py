"""Measure outgoing webhooks: 10,000 events to three endpoints, compared with bare posts.

The receiver is a separate process that responds with 204 at once. The bare posts are the floor
(least possible work): one prepared message is posted again and again, over the same number of
connections and without a database. Their speed is the limit of aiohttp here. This process, the
receiver and PostgreSQL with fsync on share the machine.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import aiohttp
import uvloop
from sqlalchemy import text
from tests.free_ports import free_port

from benchmarks.figures import Figure, medians, show
from benchmarks.sender import Nudges
from benchmarks.stage import Stage, stage
from benchmarks.web import listening
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.addresses import ANY_PORT, AddressPolicy
from crm_api.domain.outbound.webhook_deliveries import fan_out
from crm_api.domain.outbound.webhook_deliveries.dispatch import (
    PER_ENDPOINT,
    DispatchTerms,
    WebhookDispatcher,
)
from crm_api.domain.outbound.webhook_deliveries.sender import HEADERS, WebhookSender
from crm_api.domain.outbound.webhook_endpoints import service as endpoints
from crm_api.domain.outbound.webhook_endpoints.schemas import WebhookEndpointCreate
from crm_api.domain.outbound.webhook_endpoints.service import Maker
from crm_api.platform import clock, lifetimes
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory

EVENTS, ENDPOINTS, ROUNDS = 10_000, 3, 3
KEY = b"a benchmark's secret key of 32 characters"
POLICY = AddressPolicy(ports=ANY_PORT, loopback_ports=ANY_PORT, needs_tls=True)
TERMS = DispatchTerms(key=KEY, disable_after=timedelta(days=5), timeout=timedelta(seconds=15))
BODY = (
    '{"type":"message.status","timestamp":"2026-11-26T05:01:20.114Z","data":{"message_id":'
    '"01a21617-fcde-74a6-beaf-f0b602eea693","status":"delivered","error_code":null,"contact_id":'
    '"01a21617-fcde-74a6-beaf-f0b602eea693","conversation_id":null,"line_id":null,'
    '"campaign_id":null}}'
)
SIGNATURE = {
    "webhook-id": "01a21617-fcde-74a6-beaf-f0b602eea693",
    "webhook-timestamp": "1795668950",
    "webhook-signature": "v1,r+92Ua3uxAt5z5nS/1NVfql4wLEcr66hcBgAsNLI6E4=",
}
# The events are delivery reports of a campaign. One hundred of them are written in one transaction.
HAPPEN = text("""
    INSERT INTO event (type, subject_id, data)
    SELECT 'message.status', uuidv7(),
           jsonb_build_object('status', 'delivered', 'contact_id', uuidv7())
    FROM generate_series(1, :count)
""")
LEFT = text("SELECT count(*) FROM webhook_delivery WHERE status <> 'delivered'")


def main(events: int = EVENTS, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield how fast events become deliveries, and how fast these arrive."""
    port = free_port()
    with (
        stage(sandboxes=0) as on,
        listening(["-m", "benchmarks.web_receiver", str(port)], dict(os.environ), port=port),
    ):
        yield from uvloop.run(_measure(on, port, events, rounds))


async def _measure(on: Stage, port: int, events: int, rounds: int) -> list[Figure]:
    addresses = [f"http://127.0.0.1:{port}/{number}" for number in range(ENDPOINTS)]
    async with open_engine(on.database_url) as engine:
        sessions = session_factory(engine)

        def new_uow() -> UnitOfWork:
            return UnitOfWork(sessions, Nudges())

        for address in addresses:
            await _make(new_uow, address)
        await _happen(new_uow, 100)
        # This delivery is a warm-up and is not measured.
        await _deliver(new_uow)
        lifetimes.tune_garbage_collection()
        return list(medians([await _round(on, new_uow, addresses, events) for _ in range(rounds)]))


async def _round(
    on: Stage, new_uow: UnitOfWorkFactory, addresses: Sequence[str], events: int
) -> list[Figure]:
    floor = await _floor(addresses, events)
    await _happen(new_uow, events)
    begun = time.perf_counter()
    await _hand_out(new_uow)
    handed_out = time.perf_counter() - begun
    cpu, postgres = time.process_time(), on.postgres_cpu()
    begun = time.perf_counter()
    await _deliver(new_uow)
    delivered = time.perf_counter() - begun
    cpu, postgres = time.process_time() - cpu, on.postgres_cpu() - postgres
    async with new_uow() as uow:
        left = await uow.session.scalar(LEFT)
    if left:
        raise SystemExit(f"{left} deliveries did not arrive")
    count = events * ENDPOINTS
    return [
        Figure(name="handed out, events a second", value=events / handed_out, unit="/s"),
        Figure(
            name="delivered and recorded",
            value=count / delivered,
            unit="/s",
            cpu_ms=cpu / count * 1000,
            postgres_ms=postgres / count * 1000,
        ),
        Figure(
            name="delivered, of bare posts",
            value=count / delivered / (events / floor),
            unit="x",
        ),
    ]


async def _make(new_uow: UnitOfWorkFactory, address: str) -> UUID:
    maker = Maker(name="bench", scopes=[Scope.ADMIN])
    body = WebhookEndpointCreate(url=address, event_types=[])
    async with new_uow() as uow:
        made, _ = await endpoints.create_endpoint(
            uow, body, maker=maker, policy=POLICY, key=KEY, now=clock.now()
        )
        await fan_out.adopt_cursor(uow)
    return made.id


async def _happen(new_uow: UnitOfWorkFactory, count: int) -> None:
    for _ in range(count // 100):
        async with new_uow() as uow:
            await uow.session.execute(HAPPEN, {"count": 100})


async def _hand_out(new_uow: UnitOfWorkFactory) -> None:
    is_last = False
    while not is_last:
        async with new_uow() as uow:
            is_last = (await fan_out.fan_out_page(uow, now=clock.now())).is_last


async def _deliver(new_uow: UnitOfWorkFactory) -> None:
    async with WebhookSender(POLICY, timeout_seconds=15) as sender:
        dispatcher = WebhookDispatcher(new_uow=new_uow, sender=sender, terms=TERMS, now=clock.now)
        await dispatcher.run(for_seconds=600, stays=False)


async def _floor(addresses: Sequence[str], count: int) -> float:
    """Post ``count`` messages, over as many connections as the service uses; return the seconds."""
    left = iter(range(count))

    async def post_on(session: aiohttp.ClientSession, address: str) -> None:
        for _ in left:
            async with session.post(address, data=BODY.encode(), headers=SIGNATURE) as answer:
                await answer.read()

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=HEADERS
    ) as session:
        begun = time.perf_counter()
        lanes = [post_on(session, one) for one in addresses for _ in range(PER_ENDPOINT)]
        await asyncio.gather(*lanes)
        return time.perf_counter() - begun


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
