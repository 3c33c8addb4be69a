"""The message queue is read in the order of its index, with or without table statistics."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger
from tests.fakes import RecordingQueue
from tests.migrations.support import own_database

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.sends import queued_claim
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory
from crm_api.platform.migration_runner import upgrade

FILL = text("""
    INSERT INTO activity (id, kind, direction, origin, line_id, phone, body, status, send_after,
        occurred_at, created_at, updated_at)
    SELECT uuid_v7(), 'message', 'outgoing', CASE n % 50 WHEN 0 THEN 'help' ELSE 'manual' END,
           :line_id, '+1617' || (5550000 + n), 'Hi',
           CASE n % 2 WHEN 0 THEN 'queued' ELSE 'sent' END, :now, :now, :now, :now
    FROM generate_series(1, 20000) AS n
""")


@pytest_asyncio.fixture
async def filled(engine: AsyncEngine) -> AsyncIterator[tuple[AsyncEngine, UnitOfWorkFactory]]:
    """Yield a database with 10,000 queued messages and no statistics."""
    async with own_database(engine, "crm_queue_plan") as url:
        await upgrade(url)
        async with open_engine(url, pool_size=2) as own:
            queue, sessions = RecordingQueue(), session_factory(own)

            def new_uow() -> UnitOfWork:
                return UnitOfWork(sessions, queue)

            ledger = await Ledger.open(new_uow, people=0)
            await ledger.run("ALTER TABLE activity_default SET (autovacuum_enabled = off)")
            await ledger.run(FILL.text, line_id=ledger.line.id, now=NOW)
            yield own, new_uow


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_queue_is_read_in_the_order_of_its_index(
    filled: tuple[AsyncEngine, UnitOfWorkFactory],
    is_analyzed: bool,  # noqa: FBT001 - a table's column
) -> None:
    own, new_uow = filled
    plans: list[list[dict[str, Any]]] = []

    # EXPLAIN must run in the transaction of the claim, because the plan depends on its settings.
    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "SKIP LOCKED" in statement and not plans:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            found = cursor.fetchone()[0]
            document = json.loads(found) if isinstance(found, str) else found
            plans.append(list(_nodes(document[0]["Plan"])))

    async with new_uow() as uow:
        if is_analyzed:
            await uow.session.execute(text("ANALYZE activity"))
        event.listen(own.sync_engine, "before_cursor_execute", explain)
        claimed = await queued_claim.claim_queued(
            uow, limit=40, times=TIMES, rules=NO_RULES, now=NOW
        )
        event.remove(own.sync_engine, "before_cursor_execute", explain)

    (plan,) = plans
    assert not {node["Node Type"] for node in plan} & {"Sort", "Incremental Sort"}
    assert any(node["Node Type"] == "Merge Append" for node in plan)
    assert len(claimed) == 40
