"""A refusal because of the account blocks a line; an accepted message opens the line again."""

from typing import Any

from sqlalchemy import Row
from tests.domain.messaging.sends.ledger import Ledger
from tests.fakes import RecordingQueue
from tests.workers.drain import open_ledger

from crm_api.dev.sandbox.app import Sandbox
from crm_api.dev.sandbox.faults import Fault
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName
from crm_api.workers.campaigns import process_campaign_queue


async def _line(ledger: Ledger) -> Row[Any]:
    (row,) = await ledger.rows("SELECT * FROM line")
    return row


async def _end_wait(ledger: Ledger) -> None:
    await ledger.run("UPDATE line SET probe_at = :now", now=clock.now())


async def test_line_without_credits_is_probed_with_one_message_at_a_time_and_opens_when_paid(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=12)
    sandbox.workspace.faults.active.append(Fault(kind=FaultKind.NO_CREDITS, probability=1.0))
    await process_campaign_queue(ctx)
    refused = len(await ledger.attempts())
    await process_campaign_queue(ctx)
    waiting = await _line(ledger)

    await _end_wait(ledger)
    await process_campaign_queue(ctx)
    tried = await _line(ledger)
    probes = len(await ledger.attempts()) - refused

    sandbox.workspace.faults.active.clear()
    await _end_wait(ledger)
    queue.jobs.clear()
    await process_campaign_queue(ctx)
    first = len(sandbox.workspace.store.ordered)
    nudges = list(queue.names)
    await process_campaign_queue(ctx)

    assert (waiting.status, waiting.blocked_reason, waiting.probes) == ("blocked", "no_credits", 1)
    assert (tried.status, tried.probes, probes) == ("blocked", 2, 1)
    # The first accepted message opens the line. The same run may then also send other messages.
    assert first >= 1
    assert JobName.PROCESS_CAMPAIGN_QUEUE in nudges
    assert len(sandbox.workspace.store.ordered) == 12
    assert {row.status for row in await ledger.recipients()} == {"sent"}
    opened = await _line(ledger)
    assert (opened.status, opened.is_probing, opened.probes) == ("active", False, 0)
