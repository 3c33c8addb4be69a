"""The statistics of a campaign agree with its recipients and attempts."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.rows import ZONE_KEY, Rows, make_campaign_rows
from tests.factories import make_contact

from crm_api.domain.campaigns.errors import CampaignNotFoundError
from crm_api.domain.campaigns.figures.campaign_stats import read_campaign_stats
from crm_api.domain.campaigns.figures.schemas import CampaignStats
from crm_api.domain.campaigns.forecast import service as forecasting
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook, load_rules
from crm_api.domain.kit.intervals import format_rate
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

NewUow = Callable[[], UnitOfWork]


async def read_stats(
    new_uow: NewUow,
    rows: Rows,
    settings: Settings,
    *,
    step: int = 0,
    now: datetime = NOW,
    rules: RuleBook = NO_RULES,
) -> CampaignStats:
    await rows.session.commit()
    async with new_uow() as uow:
        return await read_campaign_stats(
            uow,
            campaign_id=rows.campaign.id,
            step=step,
            limits=SendLimits(
                rules=rules, times=SendTimes.from_settings(settings), texts_per_second=8
            ),
            now=now,
        )


async def test_every_status_is_counted(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session)
    expected = {
        "pending": 3,
        "review": 1,
        "held": 2,
        "sending": 1,
        "unknown": 2,
        "sent": 4,
        "delivered": 5,
        "failed": 1,
        "skipped": 2,
        "cancelled": 1,
    }
    for status, count in expected.items():
        rows.add(status, count=count)
    rows.add("pending", count=4, step=1)

    found = await read_stats(new_uow, rows, settings)

    assert found.by_status.model_dump() == expected
    assert found.recipients_total == sum(expected.values())
    assert (await read_stats(new_uow, rows, settings, step=1)).recipients_total == 4


async def test_replies_and_opt_outs_are_counted_by_variant(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B"))
    rows.add("delivered", count=2, variant=0, replied_at=NOW)
    rows.add("sent", variant=0)
    rows.add("pending", variant=0)
    rows.add("delivered", variant=1, replied_at=NOW, opted_out_at=NOW)
    rows.add("failed", variant=1)

    found = await read_stats(new_uow, rows, settings)

    assert (found.replied, found.opted_out, found.response_rate) == (3, 1, "0.7500")
    shown = [variant.model_dump() for variant in found.variants]
    assert shown[0] == {
        "name": "V0",
        "recipients": 4,
        "sent": 3,
        "delivered": 2,
        "failed": 0,
        "replied": 2,
        "opted_out": 0,
        "response_rate": "0.6667",
        "response_interval": {"low": "0.2077", "high": "0.9385"},
        "opt_out_rate": "0.0000",
        "opt_out_interval": {"low": "0.0000", "high": "0.5615"},
        "delivery_rate": "0.6667",
        "delivery_interval": {"low": "0.2077", "high": "0.9385"},
        "stopped_at": None,
        "stopped_reason": None,
    }
    assert {name: shown[1][name] for name in ("sent", "failed", "opted_out", "replied")} == {
        "sent": 1,
        "failed": 1,
        "opted_out": 1,
        "replied": 1,
    }
    assert (shown[1]["opt_out_rate"], shown[1]["delivery_rate"]) == ("1.0000", "0.5000")


async def test_campaign_with_one_variant_has_no_ab_test(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session)
    rows.add("delivered", count=2)

    found = await read_stats(new_uow, rows, settings)

    assert found.ab_test is None


async def test_variant_without_weight_is_not_compared(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B", "C"))
    await session.execute(text("UPDATE campaign_variant SET weight = 0 WHERE name = 'V2'"))
    for variant in (0, 1):
        rows.add("sent", count=100, variant=variant)

    found = (await read_stats(new_uow, rows, settings)).ab_test

    assert found is not None
    assert found.status == "no_difference_yet"


async def test_stats_of_a_follow_up_show_the_ab_test_of_the_first_message(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B"))
    for variant in (0, 1):
        rows.add("sent", count=100, variant=variant)
        rows.add("sent", count=20, variant=variant, step=1)

    first = await read_stats(new_uow, rows, settings)
    second = await read_stats(new_uow, rows, settings, step=1)

    assert second.ab_test is not None
    assert second.ab_test == first.ab_test
    assert [variant.sent for variant in second.variants] == [20, 20]


async def test_campaign_without_sent_messages_has_no_response_rate(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session)
    rows.add("pending")

    found = await read_stats(new_uow, rows, settings)

    assert found.response_rate is None
    assert found.variants[0].response_rate is None


async def test_parked_counts_unknown_recipients_that_wait_for_a_person(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session)
    first, second, third = rows.add("unknown", count=3)
    (settled,) = rows.add("sent")
    rows.add_attempt(first, "parked")
    rows.add_attempt(second, "unknown")
    rows.add_attempt(third, "parked")
    rows.add_attempt(settled, "parked")

    found = await read_stats(new_uow, rows, settings)

    assert found.by_status.unknown == 3
    assert found.parked == 2


async def test_today_is_counted_in_the_time_zone_of_the_line(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_campaign_rows(session, daily_limit=10)
    midnight = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
    for member, at in zip(rows.add("sent", count=3), (-1, 0, 3600), strict=True):
        rows.add_attempt(member, "sent", accepted_at=midnight + timedelta(seconds=at))

    found = await read_stats(new_uow, rows, settings)

    assert (found.sent_today, found.remaining_today) == (2, 8)


async def make_waiting_campaign(session: AsyncSession, people: int, **values: Any) -> Rows:
    """Make a campaign whose stored recipients all wait."""
    rows = await make_campaign_rows(
        session, zone_keys=[ZONE_KEY], recipients_total=people, **values
    )
    rows.add("pending", count=people)
    return rows


async def test_estimate_continues_on_the_following_days(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_waiting_campaign(session, 26, daily_limit=10)

    found = await read_stats(new_uow, rows, settings)

    # The limit is 10 messages a day. The last 6 of the 26 messages are sent on the third day, from
    # 09:00 in New York. At 8 messages a second, they need 5/8 s.
    assert found.estimated_finish_at is not None
    finish = found.estimated_finish_at - datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
    assert finish.total_seconds() == pytest.approx(5 / 8, abs=0.1)


async def test_estimate_applies_the_daily_limit_of_the_line(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_waiting_campaign(session, 6, daily_limit=100, line_values={"daily_limit": 5})

    found = await read_stats(new_uow, rows, settings)

    assert found.estimated_finish_at == datetime(2026, 11, 26, 14, 0, tzinfo=UTC)


async def test_estimate_applies_legal_hours(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    """Test an estimate at 21:30 in New York, when Massachusetts allows messages again at 08:00."""
    rows = await make_waiting_campaign(session, 1, window_start=time(0), window_end=time(23, 59))
    night = datetime(2026, 11, 26, 2, 30, tzinfo=UTC)

    found = await read_stats(new_uow, rows, settings, now=night, rules=load_rules("us"))

    assert found.estimated_finish_at == datetime(2026, 11, 26, 13, 0, tzinfo=UTC)


async def test_estimate_counts_from_the_start_of_the_campaign(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    start_at = datetime(2026, 12, 24, 16, 0, tzinfo=UTC)
    rows = await make_waiting_campaign(session, 9, status="scheduled", start_at=start_at)

    found = await read_stats(new_uow, rows, settings)

    assert found.estimated_finish_at is not None
    duration = found.estimated_finish_at - start_at
    assert duration.total_seconds() == pytest.approx(1, abs=0.1)


async def test_audience_that_is_not_stored_has_no_estimate(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    """Test that the statistics do not estimate an audience that is not stored.

    The forecast counts such an audience. The statistics do not, because they are requested often.
    """
    person = await make_contact(session)
    rows = await make_campaign_rows(
        session, status="scheduled", audience={"contact_ids": [str(person.id)]}
    )

    found = await read_stats(new_uow, rows, settings)

    assert found.estimated_finish_at is None


async def test_estimate_equals_the_forecast(
    session: AsyncSession, new_uow: NewUow, settings: Settings
) -> None:
    rows = await make_waiting_campaign(session, 300, pacing_mode="even")
    found = await read_stats(new_uow, rows, settings)

    async with new_uow() as uow:
        forecast = await forecasting.forecast(
            uow,
            campaign_id=rows.campaign.id,
            limits=SendLimits(
                rules=NO_RULES, times=SendTimes.from_settings(settings), texts_per_second=8
            ),
            now=NOW,
        )

    assert found.estimated_finish_at == forecast.p50_finish_at is not None


@pytest.mark.parametrize("status", ["draft", "paused", "blocked", "completed", "cancelled"])
async def test_campaign_that_is_not_scheduled_or_running_has_no_estimate(
    session: AsyncSession, new_uow: NewUow, settings: Settings, status: str
) -> None:
    rows = await make_waiting_campaign(session, 1, status=status)

    assert (await read_stats(new_uow, rows, settings)).estimated_finish_at is None


async def test_unknown_campaign_is_not_found(new_uow: NewUow, settings: Settings) -> None:
    with pytest.raises(CampaignNotFoundError):
        async with new_uow() as uow:
            await read_campaign_stats(
                uow,
                campaign_id=UUID(int=0),
                limits=SendLimits(
                    rules=NO_RULES, times=SendTimes.from_settings(settings), texts_per_second=8
                ),
                now=NOW,
            )


@pytest.mark.parametrize(
    ("part", "total", "text"), [(0, 3, "0.0000"), (1, 3, "0.3333"), (3, 3, "1.0000"), (0, 0, None)]
)
def test_rate_has_four_decimals(part: int, total: int, text: str | None) -> None:
    assert format_rate(part, total) == text
