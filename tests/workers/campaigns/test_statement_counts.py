"""The queue job needs few SQL statements, for any number of campaigns and messages."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from benchmarks.statements import StatementCounter
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.workers.drain import open_ledger

from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.campaigns import process_campaign_queue

FEW, MANY = 5, 50
MAX_PER_TICK = 18
MAX_PER_MESSAGE = 0.2

DUE_TOMORROW = "UPDATE campaign_membership SET due_at = now() + interval '1 day'"
PACED = (
    "INSERT INTO campaign_pace (campaign_id, next_at, batch_left) "
    "SELECT id, now() + interval '1 day', 0 FROM campaign"
)
NO_SENDING_DAYS = "UPDATE campaign SET days = '{}'"
LINE_LIMIT_REACHED = "UPDATE line SET daily_limit = 0"
CAMPAIGN_LIMITS_REACHED = """
    WITH limited AS (UPDATE campaign SET daily_limit = 1 RETURNING id, line_id)
    INSERT INTO send_attempt (id, campaign_id, line_id, activity_id, phone, body, status, called_at,
        accepted_at, created_at, updated_at)
    SELECT uuid_v7(), id, line_id, uuid_v7(), '+16175550999', 'Hi', 'sent', now(), now(), now(),
           now()
    FROM limited
"""
WRITTEN = """
    SELECT (SELECT count(*) FROM send_attempt) AS attempts,
           (SELECT count(*) FROM activity) AS messages,
           (SELECT count(*) FROM conversation) AS conversations,
           (SELECT count(*) FROM activity_key) AS keys,
           (SELECT count(*) FROM event WHERE type = 'message.status') AS events,
           (SELECT count(*) FROM send_tally) + (SELECT count(*) FROM carrier_tally)
               + (SELECT count(*) FROM campaign_tally) AS tallies
"""


def _zone(*, hour: int) -> str:
    """Return a zone key (state and time zone) whose local time is about this hour."""
    # In a POSIX name such as `Etc/GMT+5`, a positive number means hours west of Greenwich.
    west = (clock.now().hour - hour + 12) % 24 - 12
    return f"MA/Etc/GMT{west:+d}"


def _due_only_in_night_zones() -> str:
    night, noon = _zone(hour=0), _zone(hour=12)
    return (
        f"WITH moved AS (UPDATE campaign_membership SET zone_key = '{night}') "
        "UPDATE campaign SET timezone = 'recipient', window_start = '09:00', window_end = '18:00', "
        f"zone_keys = ARRAY['{night}', '{noon}']"
    )


@pytest.fixture
def statements(committed_db: AsyncEngine) -> Iterator[StatementCounter]:
    counter = StatementCounter(committed_db)
    yield counter
    counter.close()


async def _tick(ctx: dict[str, Any], statements: StatementCounter) -> Counter[str]:
    # Once an hour, a run also checks budgets, which needs more statements. Prevent this check.
    ctx["deps"].budgets_checked_at = clock.now()
    statements.clear()
    await process_campaign_queue(ctx)
    return statements.counts.copy()


@pytest.mark.parametrize(
    "obstacle",
    [
        DUE_TOMORROW,
        PACED,
        NO_SENDING_DAYS,
        LINE_LIMIT_REACHED,
        CAMPAIGN_LIMITS_REACHED,
        _due_only_in_night_zones(),
    ],
)
async def test_tick_without_sends_needs_the_same_statements_for_any_number_of_campaigns(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    statements: StatementCounter,
    obstacle: str,
) -> None:
    first = await open_ledger(committed_uow)
    for _ in range(FEW - 1):
        await open_ledger(committed_uow, line=first.line)
    await first.run(obstacle)
    few = await _tick(ctx, statements)
    await first.run("DELETE FROM campaign_pace")
    for _ in range(MANY - FEW):
        await open_ledger(committed_uow, line=first.line)
    await first.run(obstacle)

    many = await _tick(ctx, statements)

    assert many == few
    assert many.total() <= MAX_PER_TICK


async def test_statements_of_a_drain_grow_with_batches_and_not_with_messages(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    statements: StatementCounter,
) -> None:
    people = 640
    ledger = await open_ledger(committed_uow, people=people, line_limit=people, daily_limit=people)
    await ledger.run("UPDATE campaign SET status = 'paused'")
    empty = await _tick(ctx, statements)
    await ledger.run("UPDATE campaign SET status = 'running'")

    full = await _tick(ctx, statements)

    assert Counter(row.status for row in await ledger.recipients()) == {"sent": people}
    assert (full - empty).total() < people * MAX_PER_MESSAGE
    assert full["insert_attempts"] == 1


async def test_message_writes_one_event_and_one_key_and_no_log_record(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    people = 200
    ledger = await open_ledger(committed_uow, people=people, line_limit=people, daily_limit=people)

    with structlog.testing.capture_logs() as records:
        await process_campaign_queue(ctx)

    assert [record["event"] for record in records] == ["campaign messages processed"]
    (written,) = await ledger.rows(WRITTEN)
    assert (written.attempts, written.messages, written.conversations) == (people,) * 3
    assert (written.events, written.keys) == (people, people)
    assert written.tallies <= people * MAX_PER_MESSAGE
