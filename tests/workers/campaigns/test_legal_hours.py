"""The worker applies the legal rules that were configured when it started."""

from typing import Any

import pytest
from tests.factories import number
from tests.workers.drain import open_ledger

from crm_api.dev.sandbox.app import Sandbox
from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook, load_rules
from crm_api.domain.consent.legal_rules.schemas import ComplianceRuleKind
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.campaigns import process_campaign_queue
from crm_api.workers.messaging import send_messages

CLOSED = RuleBook(
    [load_rules("us").rules[0].model_copy(update={"kind": ComplianceRuleKind.NO_DAY})], name="made"
)


@pytest.mark.parametrize(("rules", "sent"), [(CLOSED, 0), (NO_RULES, 3)])
async def test_worker_sends_only_what_its_rules_allow(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    sandbox: Sandbox,
    rules: RuleBook,
    sent: int,
) -> None:
    ctx["deps"].rules = rules
    ledger = await open_ledger(committed_uow, people=2)
    async with committed_uow() as uow:
        await queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(2),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=clock.now(),
        )

    await process_campaign_queue(ctx)
    await send_messages(ctx)

    assert len(sandbox.workspace.store.ordered) == sent
