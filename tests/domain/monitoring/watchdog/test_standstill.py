"""An alert is raised if due messages are not sent (a standstill), but not if a rule delays them."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger
from tests.domain.monitoring.watchdog.support import (
    MINUTE,
    NewUow,
    alert,
    check_each_minute,
    open_alerts,
)

from crm_api.domain.alerts import circuits
from crm_api.domain.consent.legal_rules.rules import NO_RULES, load_rules

LONG_DUE = NOW - timedelta(hours=1)


async def test_campaign_that_sends_nothing_raises_an_alert(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, now=LONG_DUE)

    early = await check_each_minute(new_uow, NOW, minutes=12)
    seen = await check_each_minute(new_uow, NOW + 13 * MINUTE, minutes=0)

    assert early == {}
    assert list(seen) == ["nothing_sent"]
    assert "'Autumn check' has sent nothing for a quarter of an hour" in seen["nothing_sent"]
    assert f"GET /v1/campaigns/{ledger.campaign.id}/recipients/" in seen["nothing_sent"]
    assert (await alert(new_uow, "nothing_sent")).subject == str(ledger.campaign.id)


async def test_alert_ends_when_a_message_is_sent(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, people=2, now=LONG_DUE)
    await check_each_minute(new_uow, NOW, minutes=13)
    (claimed, _) = await ledger.begin_calls(now=NOW + 14 * MINUTE)
    await ledger.accept(claimed, at=NOW + 14 * MINUTE, now=NOW + 14 * MINUTE)

    assert await check_each_minute(new_uow, NOW + 14 * MINUTE, minutes=0) == {}


async def test_campaign_that_sends_raises_no_alert(new_uow: NewUow) -> None:
    """Test a campaign that sends slowly, so that some recipients are always due for long."""
    ledger = await Ledger.open(new_uow, people=6, now=LONG_DUE)
    for position in range(3):
        now = NOW + 10 * position * MINUTE
        (claimed,) = await ledger.begin_calls(limit=1, now=now)
        await ledger.accept(claimed, f"AC{position}", at=now, now=now)
        assert await check_each_minute(new_uow, now, minutes=9) == {}


@pytest.mark.parametrize(
    "held_back",
    [
        {"status": "paused"},
        {"window_start": time(20), "window_end": time(21)},
        {"end_at": NOW - MINUTE},
        {"start_at": NOW + timedelta(hours=4)},
    ],
    ids=["paused", "outside its hours", "ended", "not started"],
)
async def test_campaign_that_a_rule_holds_back_raises_no_alert(
    new_uow: NewUow, held_back: dict[str, Any]
) -> None:
    await Ledger.open(new_uow, now=LONG_DUE, **held_back)

    assert await check_each_minute(new_uow, NOW, minutes=20) == {}


async def test_blocked_line_raises_no_alert_of_a_standstill(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, now=LONG_DUE)
    await ledger.run("UPDATE line SET status = 'blocked', blocked_reason = 'no_credits'")

    assert await check_each_minute(new_uow, NOW, minutes=20) == {}


async def test_time_outside_legal_hours_raises_no_alert(new_uow: NewUow) -> None:
    night = datetime(2026, 11, 26, 4, 0, tzinfo=NOW.tzinfo)  # 23:00 in New York.
    await Ledger.open(new_uow, now=LONG_DUE, window_start=time(0), window_end=time(23, 59))

    assert await check_each_minute(new_uow, night, minutes=20, rules=load_rules("us")) == {}
    assert list(await check_each_minute(new_uow, night, minutes=20, rules=NO_RULES)) == [
        "nothing_sent"
    ]


async def test_used_up_daily_limit_raises_no_alert(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, people=3, now=LONG_DUE, daily_limit=1)
    (claimed,) = await ledger.begin_calls(now=LONG_DUE)
    await ledger.accept(claimed, at=LONG_DUE, now=LONG_DUE)

    assert await check_each_minute(new_uow, NOW, minutes=20) == {}


async def test_wait_between_batches_raises_no_alert(new_uow: NewUow) -> None:
    ledger = await Ledger.open(
        new_uow, people=3, now=LONG_DUE, batch_size=1, batch_interval_minutes=90
    )
    (claimed,) = await ledger.begin_calls(now=LONG_DUE)
    await ledger.accept(claimed, at=LONG_DUE, now=LONG_DUE)

    assert await check_each_minute(new_uow, NOW, minutes=20) == {}
    assert list(await check_each_minute(new_uow, NOW + 31 * MINUTE, minutes=20)) == ["nothing_sent"]


async def test_recipient_on_hold_raises_no_alert(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, now=LONG_DUE)
    await ledger.flag("opt_out_hold")

    assert await check_each_minute(new_uow, NOW, minutes=20) == {}


async def test_unavailable_provider_raises_one_alert(new_uow: NewUow) -> None:
    await Ledger.open(new_uow, now=LONG_DUE)
    async with new_uow() as uow:
        await circuits.record_failures(uow, circuits.PROVIDER, count=5, error="away", now=NOW)

    assert list(await check_each_minute(new_uow, NOW, minutes=20)) == ["provider_down"]


async def test_long_waiting_message_raises_an_alert(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow, people=0)
    await ledger.run(
        """INSERT INTO activity (id, kind, direction, origin, line_id, phone, body, status, rank,
               occurred_at, created_at, updated_at, send_after)
           SELECT uuid_v7(), 'message', 'outgoing', 'manual', id, '+16175550111', 'Hello', 'queued',
                  0, '2026-11-25 15:00Z', '2026-11-25 15:00Z', '2026-11-25 15:00Z',
                  '2026-11-25 15:00Z'
           FROM line"""
    )

    assert await check_each_minute(new_uow, NOW, minutes=5) == {}
    assert list(await check_each_minute(new_uow, NOW + 6 * MINUTE, minutes=2)) == ["texts_late"]
    await ledger.run("UPDATE activity SET status = 'sent'")
    assert await check_each_minute(new_uow, NOW + 9 * MINUTE, minutes=0) == {}


async def test_unclear_attempts_that_do_not_settle_raise_an_alert(new_uow: NewUow) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()

    assert await check_each_minute(new_uow, NOW, minutes=31) == {}
    seen = await check_each_minute(new_uow, NOW + 32 * MINUTE, minutes=2)
    assert list(seen) == ["sends_unclear"]
    assert "It is unclear whether 1 messages were sent" in seen["sends_unclear"]
    await ledger.run("UPDATE send_attempt SET status = 'sent'")
    assert await check_each_minute(new_uow, NOW + 35 * MINUTE, minutes=0) == {}


@pytest.mark.parametrize(
    ("texts", "event_at", "expected"),
    [
        (20, None, ["no_reports"]),
        (19, None, []),
        (20, 2 * MINUTE, []),
        (20, -MINUTE, ["no_reports"]),
    ],
    ids=["no event", "too few messages", "event afterwards", "event before"],
)
async def test_accepted_messages_without_events_raise_an_alert(
    new_uow: NewUow, texts: int, event_at: timedelta | None, expected: list[str]
) -> None:
    ledger = await Ledger.open(new_uow, people=texts, line_limit=1000)
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"AC{position}", at=NOW + MINUTE, now=NOW + MINUTE)
    if event_at is not None:
        await ledger.run(
            f"""INSERT INTO webhook_event (id, provider_event_id, scheme, type, next_attempt_at,
                    received_at, payload, status)
                VALUES (uuid_v7(), 'EV1', '2026-03-30', 'message.delivered', now(),
                    '{(NOW + event_at).isoformat()}', '{{}}', 'processed')"""
        )

    assert await check_each_minute(new_uow, NOW + 15 * MINUTE, minutes=0) == {}
    await check_each_minute(new_uow, NOW + 17 * MINUTE, minutes=0)
    assert list(await open_alerts(new_uow)) == expected
