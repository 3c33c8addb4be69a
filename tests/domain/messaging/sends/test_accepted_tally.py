"""A trigger updates a tally (stored counts) of accepted messages, which equals the attempts."""

from datetime import timedelta

from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger

from crm_api.domain.messaging.sends import gate, usage
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

DIFFERENCES = """
    SELECT line_id, campaign_id, quarter, sum(texts) AS surplus FROM (
        SELECT line_id, campaign_id, quarter, texts FROM send_tally
        UNION ALL
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), -1
        FROM send_attempt WHERE accepted_at IS NOT NULL
    ) both_sides
    GROUP BY line_id, campaign_id, quarter HAVING sum(texts) <> 0
"""


async def _line_used(ledger: Ledger) -> int:
    async with ledger.new_uow() as uow:
        used = await usage.count_sent_today(
            uow.session, line_ids=[ledger.line.id], times=TIMES, now=NOW
        )
    return used[ledger.line.id]


async def test_tally_follows_every_write(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=6)
    called = await ledger.begin_calls()

    for position, claimed in enumerate(called):
        at = NOW - timedelta(hours=9 * position)
        await ledger.run(
            "UPDATE send_attempt SET called_at = :at WHERE id = :id", at=at, id=claimed.attempt_id
        )
        await ledger.accept(claimed, f"AC{position}", at=at, now=at)
    assert await ledger.rows(DIFFERENCES) == []
    assert await _line_used(ledger) == 2

    await ledger.run(
        "UPDATE send_attempt SET accepted_at = :now WHERE provider_message_id = 'AC5'", now=NOW
    )
    await ledger.run("UPDATE send_attempt SET accepted_at = NULL WHERE provider_message_id = 'AC4'")
    await ledger.run("DELETE FROM send_attempt WHERE provider_message_id = 'AC3'")
    assert await ledger.rows(DIFFERENCES) == []
    assert await _line_used(ledger) == 3


async def test_compacted_tally_has_the_same_totals(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"AC{position}")
    for _ in range(150):
        await ledger.run("UPDATE send_attempt SET accepted_at = NULL")
        await ledger.run("UPDATE send_attempt SET accepted_at = :now", now=NOW)
    (before,) = await ledger.rows("SELECT count(*) AS number FROM send_tally")

    async with new_uow() as uow:
        await usage.compact_tally(uow, now=NOW)

    (after,) = await ledger.rows("SELECT count(*) AS number FROM send_tally")
    assert (before.number > 200, after.number) == (True, 1)
    assert await ledger.rows(DIFFERENCES) == []


async def test_one_transaction_at_a_time_compacts_the_tally(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow, people=1)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed, "AC0")
    await ledger.run(
        "INSERT INTO send_tally (line_id, campaign_id, quarter, texts) "
        "SELECT line_id, campaign_id, quarter, n % 2 * 2 - 1 "
        "FROM send_tally, generate_series(1, 300) AS n"
    )
    count = "SELECT count(*) AS rows, sum(texts) AS texts FROM send_tally"

    async with committed_uow() as first, committed_uow() as second:
        await usage.compact_tally(first, now=NOW)
        await second.session.execute(text("SET LOCAL lock_timeout = '1s'"))
        await usage.compact_tally(second, now=NOW)
        (meanwhile,) = (await second.session.execute(text(count))).all()

    (after,) = await ledger.rows(count)
    assert (meanwhile.rows, meanwhile.texts) == (301, 1)
    assert (after.rows, after.texts) == (1, 1)


async def test_gate_updates_no_index_entry(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=40)
    # With only eight rows, the new row versions fit into the free space of their pages. So no index
    # entry changes.
    claimed = (await ledger.claim())[:8]

    async with new_uow() as uow:
        before = await _rows_written_in_place(uow)
        await gate.pass_gate(uow, claimed, times=TIMES, now=NOW)
        after = await _rows_written_in_place(uow)

    assert after - before == len(claimed) == 8


async def _rows_written_in_place(uow: UnitOfWork) -> int:
    statement = "SELECT pg_stat_get_xact_tuples_hot_updated('send_attempt'::regclass)"
    return int(await uow.session.scalar(text(statement)))
