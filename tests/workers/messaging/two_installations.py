"""Helpers that compare two installations which began with equal data and got the same events."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.database_time import date_receipt
from tests.domain.inbound.webhook_events.support import APPLY_SETTINGS
from tests.fakes import RecordingQueue
from tests.migrations.support import own_database

from crm_api.dev.sandbox.config import DEFAULT_SIGNING_KEY
from crm_api.domain.all_tables import metadata
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.envelope import read_event
from crm_api.domain.provider.openphone.signature import Verifier
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory
from crm_api.routers.inbound.event_intake import EventIntake

NOT_COMPARED = {
    # These tables contain received deliveries, and how a process handled them.
    "webhook_event",
    "webhook_event_key",
    "reconciliation_run",
    "receiver_heartbeat",
    "worker_heartbeat",
    "scheduled_job",
    "rate_limit",
    "alert_notice",
    # These tables contain the log of events and a position in this log. The log has one row for
    # each change, in the order of the changes. The two installations may make the changes in
    # another order.
    "event",
    "event_horizon",
    # These tables contain parts of sums. The queries in ``SUMS`` compare the sums.
    "campaign_tally",
    "conversation_tally",
    "send_tally",
    "insight_tally",
    # These tables contain changes that are not included in the stored sums yet.
    "insight_person_change",
    "insight_person_move",
    "insight_answer_change",
    "insight_reply_change",
    "insight_outcome_change",
}
DATED_BY_RECEIPT = {
    "asked_at",
    "created_at",
    "updated_at",
    "answered_at",
    "first_seen_at",
    "last_seen_at",
    "next_attempt_at",
    "send_after",
}
SURROGATES = {"id", "entry_id", "salt", "wording_digest"}
SUMS = {
    "campaign_tally": """
        SELECT campaign_id, step, variant, status, sum(people) AS people, sum(replied) AS replied,
               sum(opted_out) AS opted_out
        FROM campaign_tally GROUP BY 1, 2, 3, 4""",
    "conversation_tally": """
        SELECT state, is_assigned, heard_on, sum(conversations) AS conversations
        FROM conversation_tally GROUP BY 1, 2, 3 HAVING sum(conversations) <> 0""",
    "send_tally": """
        SELECT line_id, campaign_id, quarter, sum(texts) AS texts
        FROM send_tally GROUP BY 1, 2, 3 HAVING sum(texts) <> 0""",
    "insight_tally": """
        SELECT grain, campaign_id, step, variant, at, sum(sent) AS sent,
               sum(delivered) AS delivered, sum(failed) AS failed, sum(replied) AS replied,
               sum(interested) AS interested, sum(opted_out) AS opted_out,
               sum(accepted) AS accepted, sum(segments) AS segments
        FROM insight_tally GROUP BY 1, 2, 3, 4, 5
        HAVING sum(sent) <> 0 OR sum(failed) <> 0 OR sum(accepted) <> 0""",
}
NAMES = """
    SELECT id, 'contact ' || phone AS name FROM contact
    UNION ALL SELECT id, 'talk ' || phone FROM conversation
    UNION ALL SELECT id, coalesce(openphone_id, origin || ' to ' || phone || ': ' || body)
        FROM activity
"""
ANSWERED = "SELECT phone FROM activity WHERE origin IN ('confirmation', 'help')"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

State = dict[str, list[dict[str, Any]]]


@dataclass
class Installation:
    """One installation of the service, which receives and applies events."""

    new_uow: UnitOfWorkFactory
    intake: EventIntake
    engine: AsyncEngine
    now: Callable[[], datetime]
    verifier: Verifier = field(default_factory=lambda: Verifier([DEFAULT_SIGNING_KEY]))

    async def receive(self, body: bytes, headers: dict[str, str]) -> None:
        """Verify and store a delivery, as the webhook route does."""
        verified = self.verifier.verify(headers, body, now=self.now())
        event = read_event(body, scheme=verified.scheme, delivery_id=verified.delivery_id)
        await self.intake.store(event)
        await date_receipt(self.new_uow, event, at=self.now())

    async def apply(self) -> None:
        """Apply all stored events that are due."""
        while True:
            async with self.new_uow() as uow:
                if not await webhooks.apply_batch(
                    uow, limit=20, now=self.now(), apply_settings=APPLY_SETTINGS
                ):
                    return

    async def rows(self, query: str) -> list[dict[str, Any]]:
        async with self.new_uow() as uow:
            return [dict(row) for row in (await uow.session.execute(text(query))).mappings()]

    async def state(self) -> State:
        """Return all rows of all compared tables, with names instead of generated ids."""
        names = {str(row["id"]): row["name"] for row in await self.rows(NAMES)}
        answered = {row["phone"] for row in await self.rows(ANSWERED)}
        tables = sorted(set(metadata.tables) - NOT_COMPARED)
        queries = {table: f'SELECT * FROM "{table}"' for table in tables} | SUMS
        return {
            table: sorted(
                (
                    _comparable(row, names, _hidden(table, row, answered))
                    for row in await self.rows(query)
                ),
                key=repr,
            )
            for table, query in queries.items()
        }


def _hidden(table: str, row: dict[str, Any], answered: set[str]) -> set[str]:
    """Return the columns that are not compared.

    Automatic answers have the time of receipt, which differs between the installations.
    """
    hidden = SURROGATES | DATED_BY_RECEIPT
    if table == "activity" and row["origin"] in {"confirmation", "help"}:
        return hidden | {"occurred_at"}
    if table == "conversation" and row["phone"] in answered:
        return hidden | {"last_activity_at"}
    return hidden


def _comparable(row: dict[str, Any], names: dict[str, str], hidden: set[str]) -> dict[str, Any]:
    return {
        column: _with_names(value, names) for column, value in row.items() if column not in hidden
    }


def _with_names(value: object, names: dict[str, str]) -> str:
    return _UUID.sub(lambda found: names.get(found[0], found[0]), str(value))


@asynccontextmanager
async def open_installation(
    database_url: str, now: Callable[[], datetime]
) -> AsyncIterator[Installation]:
    queue = RecordingQueue()
    async with open_engine(database_url, pool_size=4) as engine:
        sessions = session_factory(engine)
        intake = EventIntake(database_url, queue=queue)
        await intake.start()
        try:
            yield Installation(lambda: UnitOfWork(sessions, queue), intake, engine, now)
        finally:
            await intake.close()


@asynccontextmanager
async def clone(engine: AsyncEngine, source: str, name: str) -> AsyncIterator[str]:
    """Copy a database that has no open connections; yield the URL of the copy."""
    async with own_database(engine, name) as url:
        async with engine.connect() as connection:
            plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await plain.execute(text(f'DROP DATABASE "{name}"'))
            await plain.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{source}"'))
        yield url
