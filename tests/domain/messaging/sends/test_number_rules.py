"""One table defines which facts about a number stop which kind of message; all steps use it."""

from itertools import product
from typing import Any

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import BUSINESS, TIMES, Ledger
from tests.factories import number

from crm_api.domain.campaigns.audience import reading
from crm_api.domain.campaigns.audience.selection import AudienceSettings
from crm_api.domain.campaigns.explain.service import explain_recipient
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import gate, queue, queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.number_rules import HOLDING, STOPS, NumberRule
from crm_api.platform.database import UnitOfWorkFactory

OUTSIDE_CAMPAIGNS = [kind for kind in SendKind if kind is not SendKind.CAMPAIGN]
KINDS_AND_RULES = list(product(OUTSIDE_CAMPAIGNS, NumberRule))


async def _apply(ledger: Ledger, rule: NumberRule) -> None:
    """Make the rule apply to the number without withdrawing messages."""
    if rule is NumberRule.CONTACT_DELETED:
        await ledger.run("UPDATE contact SET deleted_at = :now", now=NOW)
    else:
        await ledger.flag(rule)


async def _queue(ledger: Ledger, kind: SendKind) -> None:
    async with ledger.new_uow() as uow:
        await queue.queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=kind,
            contact_id=None,
            now=NOW,
        )


async def _claim(ledger: Ledger) -> list[ClaimedAttempt]:
    async with ledger.new_uow() as uow:
        return await queued_claim.claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=NOW)


async def _read_message(ledger: Ledger) -> tuple[str, str | None]:
    row = await ledger.message()
    return row.status, row.error_code


@pytest.mark.parametrize(("kind", "rule"), KINDS_AND_RULES)
async def test_claim_of_a_queued_message_follows_the_table(
    new_uow: UnitOfWorkFactory, kind: SendKind, rule: NumberRule
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE campaign SET status = 'paused'")
    await _queue(ledger, kind)
    await _apply(ledger, rule)

    claimed = await _claim(ledger)

    if rule in STOPS[kind]:
        assert claimed == []
        assert await _read_message(ledger) == ("failed", f"recipient_{rule}")
    else:
        assert len(claimed) == 1


@pytest.mark.parametrize(("kind", "rule"), KINDS_AND_RULES)
async def test_gate_and_release_of_a_message_follow_the_table(
    new_uow: UnitOfWorkFactory, kind: SendKind, rule: NumberRule
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.run("UPDATE campaign SET status = 'paused'")
    await _queue(ledger, kind)
    batch = await _claim(ledger)
    await _apply(ledger, rule)

    async with new_uow() as uow:
        passed = await gate.pass_gate(uow, batch, times=TIMES, now=NOW)
        await gate.release_claims(uow, [] if passed else batch, reason="gate", now=NOW)

    if rule in STOPS[kind]:
        assert passed == []
        assert await _read_message(ledger) == ("failed", f"recipient_{rule}")
    else:
        assert passed == batch


@pytest.mark.parametrize(("kind", "rule"), KINDS_AND_RULES)
async def test_check_before_a_message_is_queued_follows_the_table(
    new_uow: UnitOfWorkFactory, kind: SendKind, rule: NumberRule
) -> None:
    ledger = await Ledger.open(new_uow)
    await _apply(ledger, rule)

    async with new_uow() as uow:
        found = await queue.find_stopping_rule(uow, kind=kind, phone=number(0), now=NOW)

    assert found == (rule if rule in STOPS[kind] else None)


@pytest.mark.parametrize("rule", STOPS[SendKind.CAMPAIGN])
async def test_claim_explanation_and_audience_of_a_campaign_agree(
    new_uow: UnitOfWorkFactory, rule: NumberRule
) -> None:
    ledger = await Ledger.open(new_uow)
    contact_id = (await ledger.recipient()).contact_id
    await _apply(ledger, rule)

    async with new_uow() as uow:
        explained = await explain_recipient(
            uow,
            campaign_id=ledger.campaign.id,
            contact_id=contact_id,
            step=None,
            rules=NO_RULES,
            business=BUSINESS,
            times=TIMES,
            now=NOW,
        )
    assert await ledger.claim() == []

    recipient = await ledger.recipient()
    assert [stop.rule for stop in explained.stops] == [rule]
    held = rule is HOLDING
    assert (recipient.status, recipient.skip_reason) == (
        ("held", None) if held else ("skipped", rule.value)
    )
    if rule is not NumberRule.CONTACT_DELETED:
        assert await _audience_verdict(ledger, contact_id) == ("held" if held else rule.value)


async def _audience_verdict(ledger: Ledger, contact_id: Any) -> str:
    async with ledger.new_uow() as uow:
        counts = await reading.count_audience(
            uow.session,
            AudienceSettings(
                audience={"contact_ids": [str(contact_id)]},
                previously_contacted="send",
                skip_landlines=False,
            ),
            now=NOW,
        )
    (verdict,) = counts
    return str(verdict)


async def test_expired_flag_stops_no_message(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await ledger.flag("do_not_contact", expires_at=NOW)
    await _queue(ledger, SendKind.MANUAL)

    assert len(await _claim(ledger)) == 1
