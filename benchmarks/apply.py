"""Measure how many stored webhook events one worker applies per second, by the kind of event.

Each kind has its own database: people who all got a message of a campaign, and a backlog of events
about them, in the order in which the receiver stores them. The worker's job applies all these
events. The worker and PostgreSQL share the machine.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import uvloop
from sqlalchemy import text

from benchmarks import history, population
from benchmarks.figures import Figure, medians, show
from benchmarks.history import Past
from benchmarks.sender import Nudges, measured, open_deps
from benchmarks.stage import Child, Stage, say, stage
from benchmarks.statements import StatementCounter
from crm_api.domain.inbound.webhook_events.envelope import read_event
from crm_api.domain.inbound.webhook_events.storing import store_events
from crm_api.platform import lifetimes, logs
from crm_api.platform.database import open_engine
from crm_api.platform.postgres import connect
from crm_api.platform.settings import Settings
from crm_api.workers.inbound import process_webhook_backlog

PEOPLE, ROUNDS = 10_000, 3
WARM_UP = 300
TARGET_PER_SECOND = 1_000
REPLIES = (
    "Yes, Tuesday at 10 works for me",
    "Who is this?",
    "Call me after 5 pm please, there is a crack in the basement wall",
    "ok",
    "Not sure yet, can you send me more about what it costs?",
    "Thanks!",
)
"""Replies of most people. One person in a hundred opts out instead."""
OPT_OUT = "Please take me off your list"
OPT_OUTS = ("STOP", OPT_OUT, "stop texting me", "Unsubscribe")
SEED = 4


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The campaign whose messages the events are about, and the current time."""

    campaign: str
    now: datetime


Event = dict[str, Any]


def main(people: int = PEOPLE, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Measure each kind of event; yield the events per second of one worker."""
    with stage(sandboxes=0) as on:
        yield from medians((_measure(on, name, people) for name in KINDS) for _ in range(rounds))


def _measure(on: Stage, name: str, people: int) -> Figure:
    url = on.database_url
    asyncio.run(population.clear(url))
    scene = asyncio.run(fill(url, people))
    events = list(KINDS[name](scene, people + WARM_UP))
    asyncio.run(store(url, events))
    asyncio.run(population.settle(url))
    child = Child(on.environment(), "worker", module="benchmarks.apply")
    try:
        child.ready()
        postgres = on.postgres_cpu()
        child.go()
        figures = child.figures()
        postgres = on.postgres_cpu() - postgres
    finally:
        child.close()
    done = asyncio.run(_count(url))
    if done != {"processed": len(events)}:
        raise SystemExit(f"{name}: {done} of {len(events)} events")
    count = figures["events"]
    say(
        f"{name}: {count:,} events in {figures['wall']:.1f} s,"
        f" {sum(figures['statements'].values()) / count:.2f} statements an event"
    )
    return Figure(
        name=name,
        value=count / figures["wall"],
        unit="/s",
        wanted=TARGET_PER_SECOND,
        cpu_ms=figures["cpu"] / count * 1000,
        postgres_ms=postgres / count * 1000,
    )


def plain(url: str) -> str:
    """Return a database URL in the form that asyncpg accepts."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


async def fill(url: str, people: int) -> Scene:
    """Store a campaign that sent a message to each of ``people`` contacts half an hour ago."""
    line_id = await population.add_line(url)
    await population.add_contacts(url, first=0, count=people + WARM_UP)
    past = Past(line_id=line_id, ago=timedelta(minutes=30), spread=timedelta(minutes=20))
    (campaign_id,) = await history.load(url, [past], people=people + WARM_UP)
    for statement in (
        "UPDATE send_attempt SET status = 'sent', reported_at = NULL",
        "UPDATE campaign_membership SET status = 'sent', delivered_at = NULL",
        "UPDATE activity SET status = 'sent', rank = 3",
        "UPDATE campaign SET status = 'running'",
    ):
        await population.execute(url, statement, {})
    await population.settle(url)
    return Scene(campaign=campaign_id.hex, now=datetime.now(UTC))


async def store(url: str, events: list[Event]) -> None:
    """Store events as the webhook receiver does."""
    connection = await connect(url, application="benchmark")
    try:
        for start in range(0, len(events), 5_000):
            some = [
                read_event(json.dumps(event).encode(), scheme="2026-03-30", delivery_id=None)
                for event in events[start : start + 5_000]
            ]
            await store_events(connection, some, timeout_seconds=60)
    finally:
        await connection.close()


async def _count(url: str) -> dict[str, int]:
    async with open_engine(url) as engine, engine.connect() as connection:
        found = await connection.execute(
            text("SELECT status, count(*) AS events FROM webhook_event GROUP BY status")
        )
        return {row.status: row.events for row in found}


# The functions below create events as the provider sends them.


def _event(kind: str, name: str, at: datetime, resource: Event, context: Event) -> Event:
    return {
        "id": f"EV{name}",
        "apiVersion": "2026-03-30",
        "createdAt": at.isoformat(),
        "type": kind,
        "data": {
            "resource": resource,
            "context": {
                "orgId": "OR1",
                "phoneNumberId": population.LINES[0],
                "conversationId": None,
                "userId": "US1",
                **context,
            },
            "links": {"quo": None},
        },
    }


def texts(scene: Scene, people: int) -> Iterator[Event]:
    """Yield an event for one reply of each person."""
    chooser = random.Random(SEED)  # noqa: S311 - the same texts in every run
    for position in range(people):
        words = OPT_OUT if position % 100 == 99 else chooser.choice(REPLIES)  # noqa: PLR2004
        resource = {
            "id": f"ACin{position}",
            "direction": "incoming",
            "text": words,
            "media": [],
            "status": "received",
            "createdAt": scene.now.isoformat(),
        }
        context = {
            "senderIdentifier": population.phone(position),
            "recipientIdentifiers": ["+16175550100"],
        }
        yield _event("message.received", f"in{position}", scene.now, resource, context)


def strangers(scene: Scene, people: int) -> Iterator[Event]:
    """Yield the events of ``texts`` (replies), each from a number that no contact has."""
    for position, event in enumerate(texts(scene, people)):
        sender = f"+1{200 + position // 10_000}234{position % 10_000:04d}"
        event["data"]["context"]["senderIdentifier"] = sender
        yield event


def opt_outs(scene: Scene, people: int) -> Iterator[Event]:
    """Yield an event for one opt-out of each person.

    Half of the opt-outs are words such as STOP, which the provider itself confirms.
    """
    for position, event in enumerate(texts(scene, people)):
        event["data"]["resource"]["text"] = OPT_OUTS[position % len(OPT_OUTS)]
        yield event


def reports(scene: Scene, people: int) -> Iterator[Event]:
    """Yield one delivery report for each message of the campaign."""
    for position in range(people):
        phone = population.phone(position)
        resource = {
            "id": f"AC{scene.campaign}{phone}",
            "direction": "outgoing",
            "text": population.body(position),
            "media": [],
            "status": "delivered",
            "createdAt": (scene.now - timedelta(minutes=30)).isoformat(),
        }
        context = {"senderIdentifier": "+16175550100", "recipientIdentifiers": [phone]}
        yield _event("message.delivered", f"out{position}", scene.now, resource, context)


def calls(scene: Scene, people: int) -> Iterator[Event]:
    """Yield three events for each call. One person in three has a call."""
    for position in range(people // 3):
        begun = scene.now - timedelta(minutes=5)
        resource = {
            "id": f"ACcall{position}",
            "direction": "incoming",
            "createdAt": begun.isoformat(),
            "updatedAt": scene.now.isoformat(),
        }
        context = {
            "participants": {
                "workspace": ["+16175550100"],
                "external": [population.phone(position)],
                "resolution": "available",
            }
        }
        answered = {"answeredAt": (begun + timedelta(seconds=7)).isoformat()}
        ended = {"completedAt": scene.now.isoformat(), "duration": 200, "status": "answered"}
        for kind, more in (
            ("call.ringing", {}),
            ("call.answered", answered),
            ("call.completed", {**answered, **ended, "hasVoicemail": False}),
        ):
            name = f"{kind}{position}"
            yield _event(kind, name, scene.now, {**resource, **more}, context)


def everything(scene: Scene, people: int) -> Iterator[Event]:
    """Yield a mix of events: 60 % delivery reports, 30 % replies and 10 % call events."""
    of_each = (reports(scene, people), texts(scene, people), calls(scene, people))
    chooser = random.Random(SEED)  # noqa: S311 - the same order in every run
    for choice in chooser.choices(range(3), weights=(6, 3, 1), k=people):
        event = next(of_each[choice], None)
        if event is not None:
            yield event


MIXED = "six, three and one of ten"
KINDS: dict[str, Callable[[Scene, int], Iterator[Event]]] = {
    "delivery reports": reports,
    "answers": texts,
    "senders not seen before": strangers,
    "opt-outs": opt_outs,
    "call events": calls,
    MIXED: everything,
}


# The function below runs in the process of the worker.


async def run_worker() -> None:
    """Apply a few events as a warm-up, then measure how all other events are applied."""
    async with AsyncExitStack() as stack:
        deps, engine = await open_deps(Settings.from_env(os.environ), stack)
        counter = StatementCounter(engine)
        nudges = cast("Nudges", deps.queue)
        async with engine.connect() as connection:
            waiting = await connection.scalar(text("SELECT count(*) FROM webhook_event"))

        async def work() -> None:
            await process_webhook_backlog({"deps": deps})
            while nudges.is_asked:
                nudges.is_asked = False
                await process_webhook_backlog({"deps": deps})

        # During the warm-up, the other events wait, because they are not due yet.
        held = "UPDATE webhook_event SET next_attempt_at = next_attempt_at {} interval '1 day'"
        later = " WHERE id IN (SELECT id FROM webhook_event ORDER BY received_at OFFSET :count)"
        async with engine.begin() as connection:
            await connection.execute(text(held.format("+") + later), {"count": WARM_UP})
        await work()
        async with engine.begin() as connection:
            await connection.execute(text(held.format("-") + " WHERE status = 'pending'"), {})
        counter.clear()
        figures = await measured(work)
        statements = counter.counts
        print(json.dumps({**figures, "events": waiting - WARM_UP, "statements": statements}))


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        logs.configure(level="WARNING")
        lifetimes.tune_garbage_collection()
        uvloop.run(run_worker())
    else:
        show(main(*map(int, sys.argv[1:])))
