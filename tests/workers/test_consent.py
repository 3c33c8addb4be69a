"""Tests of the jobs of the area consent."""

from datetime import timedelta
from typing import Any

from tests.domain.messaging.sends.ledger import message_facts
from tests.factories import number
from tests.workers.drain import open_ledger

from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.consent import learn_from_failures


async def test_one_run_evaluates_the_failures_of_every_number(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    ledger = await open_ledger(committed_uow, people=3)
    now = clock.now()
    for position in range(3):
        failed = message_facts(
            "failed",
            message_id=f"AC{position}",
            phone=number(position),
            at=now - timedelta(seconds=4),
            updated_at=now,
            error_code="30006",
        )
        await ledger.report(failed, now=now)

    first = await learn_from_failures(ctx)
    second = await learn_from_failures(ctx)

    known = await ledger.rows("SELECT phone FROM phone_lookup ORDER BY phone")
    assert [row.phone for row in known] == [number(position) for position in range(3)]
    assert (first, second) == ({"numbers": 3}, None)
