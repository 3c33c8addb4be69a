"""The accepted time is the provider's time, between the gate and the recorded response."""

import itertools
from datetime import datetime, timedelta

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, message_facts

from crm_api.domain.messaging.sends import usage
from crm_api.platform.database import UnitOfWorkFactory

SKEW = TIMES.skew
DAY = timedelta(days=1)
RECORDED = after(3)
WRONG_TIMES = [NOW - DAY, NOW - 2 * SKEW, RECORDED + 2 * SKEW, RECORDED + DAY]


async def counted_today(ledger: Ledger) -> int:
    async with ledger.new_uow() as uow:
        used = await usage.count_sent_today(
            uow.session, line_ids=[ledger.line.id], times=TIMES, now=RECORDED
        )
    return used[ledger.line.id]


def bounded(claimed: datetime) -> datetime:
    return max(NOW - SKEW, min(claimed, RECORDED + SKEW))


@pytest.mark.parametrize("claimed", WRONG_TIMES)
async def test_message_dated_on_another_day_by_the_provider_counts_today(
    new_uow: UnitOfWorkFactory, claimed: datetime
) -> None:
    ledger = await Ledger.open(new_uow)
    (call,) = await ledger.begin_calls()

    await ledger.accept(call, at=claimed, now=RECORDED)

    assert (await ledger.attempt()).accepted_at == bounded(claimed)
    assert (await ledger.recipient()).sent_at == bounded(claimed)
    assert (await ledger.message()).occurred_at == bounded(claimed)
    assert await counted_today(ledger) == 1


@pytest.mark.parametrize("claimed", WRONG_TIMES)
async def test_report_dated_on_another_day_does_not_move_the_message(
    new_uow: UnitOfWorkFactory, claimed: datetime
) -> None:
    ledger = await Ledger.open(new_uow)
    (call,) = await ledger.begin_calls()
    await ledger.accept(call, at=NOW, now=after(1))

    await ledger.report(message_facts("delivered", at=claimed), now=RECORDED)

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.accepted_at) == (
        "delivered",
        max(NOW - SKEW, min(claimed, NOW)),
    )
    assert await counted_today(ledger) == 1


@pytest.mark.parametrize("claimed", WRONG_TIMES)
async def test_message_reported_before_its_answer_counts_today(
    new_uow: UnitOfWorkFactory, claimed: datetime
) -> None:
    ledger = await Ledger.open(new_uow)
    (call,) = await ledger.begin_calls()
    await ledger.report(message_facts("delivered", at=claimed), now=after(1))

    await ledger.accept(call, at=claimed, now=RECORDED)

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.accepted_at) == ("delivered", bounded(claimed))
    assert await counted_today(ledger) == 1


@pytest.mark.parametrize("order", list(itertools.permutations([NOW, after(1), after(2)])))
async def test_earliest_date_of_several_reports_counts_in_any_order(
    new_uow: UnitOfWorkFactory, order: tuple[datetime, ...]
) -> None:
    ledger = await Ledger.open(new_uow)
    (call,) = await ledger.begin_calls()
    await ledger.accept(call, at=None, now=RECORDED)

    for at in order:
        await ledger.report(message_facts("sent", at=at), now=RECORDED)

    assert (await ledger.attempt()).accepted_at == NOW
