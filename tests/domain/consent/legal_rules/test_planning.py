"""The plan, the claim and the gate apply the legal hours and limits of campaign messages."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger

from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

US = load_rules("us")
MA = "MA/America/New_York"
FL = "FL/America/New_York"
ALL_DAY: dict[str, Any] = {
    "window_start": time(0),
    "window_end": time(23, 59),
    "timezone": "recipient",
}


def eastern(hour: int, minute: int = 0, *, day: int = 25) -> datetime:
    """Return an instant of November 2026, given in New York's time (UTC-5)."""
    return datetime(2026, 11, day, tzinfo=UTC) + timedelta(hours=hour + 5, minutes=minute)


async def open_at(
    new_uow: UnitOfWorkFactory, zone_key: str, *, now: datetime = NOW, **values: Any
) -> Ledger:
    ledger = await Ledger.open(
        new_uow, contact={"zone_key": zone_key}, now=now, **(ALL_DAY | values)
    )
    ledger.rules = US
    return ledger


async def open_zones(ledger: Ledger, now: datetime) -> dict[str, datetime]:
    async with ledger.new_uow() as uow:
        order = await ledger.order(uow, now=now)
    return dict(order.open_zones) if order else {}


@pytest.mark.parametrize(
    ("now", "closes"),
    [
        (eastern(7, 59), None),
        (eastern(8), eastern(20)),
        (eastern(19, 59), eastern(20)),
        (eastern(20), None),
    ],
)
async def test_zone_key_is_planned_only_within_legal_hours(
    new_uow: UnitOfWorkFactory, now: datetime, closes: datetime | None
) -> None:
    ledger = await open_at(new_uow, MA, now=eastern(7))

    assert await open_zones(ledger, now) == ({MA: closes} if closes else {})


async def test_earlier_end_of_campaign_and_legal_hours_is_the_latest_instant(
    new_uow: UnitOfWorkFactory,
) -> None:
    law = await open_at(new_uow, MA)
    hours: dict[str, Any] = {"window_start": time(9), "window_end": time(19)}
    campaign = await open_at(new_uow, MA, line=law.line, **hours)
    ending = await open_at(new_uow, MA, line=law.line, end_at=eastern(18))

    assert await open_zones(law, eastern(12)) == {MA: eastern(20)}
    assert await open_zones(campaign, eastern(12)) == {MA: eastern(19)}
    assert await open_zones(campaign, eastern(8, 30)) == {}
    assert await open_zones(ending, eastern(12)) == {MA: eastern(18)}


async def test_legal_hours_use_the_recipients_zone_not_the_campaigns(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await open_at(new_uow, "CA/America/Los_Angeles", timezone="America/New_York")

    assert await open_zones(ledger, eastern(11, 59)) == {}
    assert set(await open_zones(ledger, eastern(12))) == {"CA/America/Los_Angeles"}


async def test_claimed_message_is_not_sent_after_legal_hours(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    ledger = await open_at(new_uow, MA, now=eastern(19))
    [claimed] = await ledger.claim(now=eastern(19, 59))

    passed = await ledger.gate([claimed], now=eastern(19, 59) + timedelta(seconds=50))

    attempt = await session.get_one(SendAttempt, claimed.attempt_id)
    assert passed == []
    assert (attempt.status, attempt.not_after) == ("released", eastern(20))


async def send_one(ledger: Ledger, *, now: datetime, message_id: str) -> int:
    """Send the messages that may be sent now, and accept each message; return their number."""
    sent = await ledger.begin_calls(now=now)
    for claimed in sent:
        await ledger.accept(claimed, message_id, at=now, now=now)
    return len(sent)


async def campaigns(new_uow: UnitOfWorkFactory, zone_key: str, count: int) -> list[Ledger]:
    """Start ``count`` campaigns on one line, each with the same person as its only recipient."""
    first = await open_at(new_uow, zone_key, now=eastern(9))
    more = [
        await open_at(new_uow, zone_key, line=first.line, now=eastern(9)) for _ in range(1, count)
    ]
    return [first, *more]


async def test_fourth_message_within_a_day_waits_if_the_limit_is_three(
    new_uow: UnitOfWorkFactory,
) -> None:
    *three, fourth = await campaigns(new_uow, FL, 4)
    for hour, ledger in enumerate(three, start=9):
        assert await send_one(ledger, now=eastern(hour), message_id=f"AC{hour}") == 1

    assert await send_one(fourth, now=eastern(12), message_id="AC12") == 0
    waiting = (await fourth.recipients())[0]
    assert (waiting.status, waiting.due_at) == ("pending", eastern(12, 1))
    # The limit counts the messages of 24 hours. The first of the three messages was sent at 09:00.
    assert await send_one(fourth, now=eastern(8, 59, day=26), message_id="AC13") == 0
    assert await send_one(fourth, now=eastern(9, 1, day=26), message_id="AC14") == 1


async def test_state_without_a_limit_limits_no_messages(new_uow: UnitOfWorkFactory) -> None:
    for hour, ledger in enumerate(await campaigns(new_uow, MA, 5), start=9):
        assert await send_one(ledger, now=eastern(hour), message_id=f"AC{hour}") == 1


async def test_refused_message_does_not_count(new_uow: UnitOfWorkFactory) -> None:
    refused, *two, fourth = await campaigns(new_uow, FL, 4)
    [claimed] = await refused.begin_calls(now=eastern(9))
    await refused.answer(claimed, ResponseKind.REFUSED, code="invalid", now=eastern(9))
    for hour, ledger in enumerate(two, start=10):
        assert await send_one(ledger, now=eastern(hour), message_id=f"AC{hour}") == 1

    assert await send_one(fourth, now=eastern(13), message_id="AC13") == 1


async def test_message_with_an_unclear_outcome_counts(new_uow: UnitOfWorkFactory) -> None:
    unclear, *two, fourth = await campaigns(new_uow, FL, 4)
    await unclear.make_unclear_attempt(now=eastern(9))
    await unclear.run("UPDATE send_attempt SET status = 'parked'")
    for hour, ledger in enumerate(two, start=10):
        assert await send_one(ledger, now=eastern(hour), message_id=f"AC{hour}") == 1

    assert await send_one(fourth, now=eastern(13), message_id="AC13") == 0


async def test_day_counts_from_the_instant_of_sending(new_uow: UnitOfWorkFactory) -> None:
    *three, fourth = await campaigns(new_uow, FL, 4)
    for ledger in three:
        [claimed] = await ledger.begin_calls(now=eastern(9))
        left = eastern(9) + timedelta(seconds=50)
        await ledger.accept(claimed, f"AC{claimed.attempt_id}", at=left, now=left)

    assert await send_one(fourth, now=eastern(9, day=26), message_id="AC1") == 0
    later = eastern(9, 1, day=26)
    assert await send_one(fourth, now=later, message_id="AC2") == 1
