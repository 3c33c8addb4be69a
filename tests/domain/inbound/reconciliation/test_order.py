"""Items that a run finds late leave the same rows as items that webhooks delivered in time."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

import pytest
import pytest_asyncio
from tests.domain.inbound.reconciliation.support import (
    PERSON,
    ReconciliationHarness,
    reconciliation_harness,
)
from tests.domain.messaging.sends.ledger import TIMES, Ledger, after, note_reply

from crm_api.domain.monitoring.sandbox_control.schemas import Act
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

NewUow = Callable[[], UnitOfWork]


@pytest_asyncio.fixture
async def harness(new_uow: UnitOfWorkFactory) -> AsyncIterator[ReconciliationHarness]:
    async with reconciliation_harness(new_uow) as made:
        yield made


@pytest.mark.parametrize("order", [(100, 200), (200, 100)])
async def test_earliest_reply_counts_in_either_order_of_arrival(
    new_uow: NewUow, order: tuple[int, int]
) -> None:
    ledger = await Ledger.open(new_uow)
    [claimed] = await ledger.begin_calls()
    await ledger.accept(claimed)

    for seconds in order:
        await _reply(ledger, at=after(seconds))

    member = await ledger.recipient()
    assert (member.replied_at, member.opted_out_at) == (after(100), after(100))


async def _reply(ledger: Ledger, *, at: datetime) -> None:
    async with ledger.new_uow() as uow:
        await note_reply(
            uow,
            phone=(await ledger.recipient()).phone,
            line_id=ledger.line.id,
            at=at,
            times=TIMES,
            now=after(300),
            is_opt_out=True,
        )


async def test_new_contact_gets_earlier_messages_to_its_number(
    harness: ReconciliationHarness,
) -> None:
    """Test that a contact gets the messages to its number that were stored before the contact."""
    sent = harness.send_from_app("We missed you.")
    harness.set_outcome(sent, Act.DELIVER)
    await harness.apply_webhook(harness.receive("hello", sender="+16175550188"))
    await harness.apply_webhook(sent, "message.delivered")
    [before] = await harness.rows("SELECT contact_id FROM activity WHERE direction = 'outgoing'")

    await harness.apply_webhook(harness.receive("I am here."))

    [person] = await harness.rows("SELECT id FROM contact WHERE phone = :phone", phone=PERSON)
    found = await harness.rows("SELECT contact_id FROM activity WHERE phone = :phone", phone=PERSON)
    assert before == {"contact_id": None}
    assert found == [{"contact_id": person["id"]}] * 2


async def test_call_whose_first_event_was_lost_gets_the_same_row(
    harness: ReconciliationHarness,
) -> None:
    call_id = harness.call({"with": ["recording"]})
    first, *others = harness.sandbox.workspace.calls[call_id].events()
    for event in others:
        await harness.apply(event.dated)
    without = await harness.rows("SELECT call FROM activity")
    await harness.apply(first.dated)

    assert await harness.rows("SELECT call FROM activity") == without
