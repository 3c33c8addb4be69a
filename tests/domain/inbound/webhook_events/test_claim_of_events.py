"""A claim reads only the events that it claims, with or without table statistics."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW

from crm_api.domain.inbound.webhook_events import service as webhooks

WAITING = 2_000
FILL = text("""
    INSERT INTO webhook_event (id, provider_event_id, scheme, type, next_attempt_at, received_at,
        payload)
    SELECT uuid_v7(), 'EV' || n, '2026-03-30', 'message.received', CAST(:now AS timestamptz),
           CAST(:now AS timestamptz), jsonb_build_object('text', repeat('x', 500))
    FROM generate_series(1, :count) AS n
""")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_claim_reads_only_the_events_that_it_claims(
    session: AsyncSession,
    engine: AsyncEngine,
    is_analyzed: bool,  # noqa: FBT001 - a table's column
) -> None:
    await session.execute(FILL, {"now": NOW, "count": WAITING})
    if is_analyzed:
        await session.execute(text("ANALYZE webhook_event"))
    plans: list[list[dict[str, Any]]] = []

    # EXPLAIN must run in the transaction of the claim, because the plan depends on its settings.
    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "SKIP LOCKED" in statement and not plans:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            found = cursor.fetchone()[0]
            document = json.loads(found) if isinstance(found, str) else found
            plans.append(list(_nodes(document[0]["Plan"])))

    event.listen(engine.sync_engine, "before_cursor_execute", explain)
    claimed = await webhooks.claim_events(session, limit=100, now=NOW)
    event.remove(engine.sync_engine, "before_cursor_execute", explain)

    (plan,) = plans
    scans = [node for node in plan if "Relation Name" in node]
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 100 + len(scans)
    assert len(claimed) == 100
