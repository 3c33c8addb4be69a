"""The next instant at which a campaign may send. A sandbox clock can skip to this instant."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import BUSINESS, Ledger

from crm_api.domain.campaigns.planning.next_send import find_next_send
from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook, load_rules
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
CALL = timedelta(seconds=16)


async def _find_next_send(
    new_uow: NewUow, *, now: datetime = NOW, rules: RuleBook = NO_RULES
) -> datetime | None:
    async with new_uow() as uow:
        return await find_next_send(uow, rules=rules, business=BUSINESS, call=CALL, now=now)


async def _execute(new_uow: NewUow, statement: str, **values: Any) -> None:
    async with new_uow() as uow:
        await uow.session.execute(text(statement), values)


async def test_campaign_without_recipients_has_no_next_send(new_uow: NewUow) -> None:
    assert await _find_next_send(new_uow) is None


async def test_recipient_due_in_an_open_window_gets_a_message_now(new_uow: NewUow) -> None:
    await Ledger.open(new_uow, people=1)

    assert await _find_next_send(new_uow) == NOW


async def test_next_send_at_night_is_the_opening_of_the_window(new_uow: NewUow) -> None:
    await Ledger.open(new_uow, people=1, window_start=time(9), window_end=time(18))
    night = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)

    assert await _find_next_send(new_uow, now=night) == datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


async def test_next_send_is_not_before_legal_hours(new_uow: NewUow) -> None:
    await Ledger.open(new_uow, people=1, window_start=time(0), window_end=time(23, 59))
    night = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
    next_send = await _find_next_send(new_uow, now=night, rules=load_rules("us"))

    assert next_send is not None
    assert next_send >= datetime(2026, 11, 26, 13, 0, tzinfo=UTC)


async def test_next_send_is_when_a_follow_up_is_due(new_uow: NewUow) -> None:
    await Ledger.open(new_uow, people=1)
    due = NOW + timedelta(hours=1)
    await _execute(new_uow, "UPDATE campaign_membership SET due_at = :due", due=due)

    assert await _find_next_send(new_uow) == due


async def test_next_send_is_the_future_start(new_uow: NewUow) -> None:
    await Ledger.open(new_uow, people=1)
    start = NOW + timedelta(days=3)
    await _execute(new_uow, "UPDATE campaign SET status = 'scheduled', start_at = :at", at=start)

    assert await _find_next_send(new_uow) == start


@pytest.mark.parametrize("used_up", ["campaign", "line"])
async def test_next_send_after_a_used_up_limit_is_on_the_next_day(
    new_uow: NewUow, used_up: str
) -> None:
    await Ledger.open(new_uow, people=1, window_start=time(9), window_end=time(18))
    await _execute(new_uow, f"UPDATE {used_up} SET daily_limit = 0")

    assert await _find_next_send(new_uow) == datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


async def test_next_send_is_when_the_pace_allows_it(new_uow: NewUow) -> None:
    await Ledger.open(new_uow, people=1)
    at = NOW + timedelta(minutes=7)
    await _execute(new_uow, "INSERT INTO campaign_pace SELECT id, :at, 0 FROM campaign", at=at)

    assert await _find_next_send(new_uow) == at
