"""Forecasts of campaigns that are delayed by the daily budgets of carriers."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.forecast.situations import (
    EVEN,
    NEW_YORK,
    NewUow,
    RunningCampaign,
    forecast,
    make_running_campaign,
)

from crm_api.domain.messaging.models.lines import CompanySettings

FIRST = date(2026, 11, 25)
ONE, TWO, THREE = "Hi", "x" * 200, "x" * 400
"""Bodies with one, two and three segments."""


async def set_carrier_budgets(session: AsyncSession, **budgets: int) -> None:
    carrier_budgets = {
        carrier: {"daily_segments": segments, "other_vendors": []}
        for carrier, segments in budgets.items()
    }
    session.add(CompanySettings(id=1, carrier_budgets=carrier_budgets, updated_at=NOW))
    await session.commit()


async def assign_carriers(rows: RunningCampaign, shares: dict[str, float]) -> None:
    """Assign each carrier to its share of the waiting people."""
    done = 0.0
    for name, share in shares.items():
        await rows.session.execute(
            text("""
                INSERT INTO phone_lookup (phone, line_type, carrier, source, checked_at, expires_at)
                SELECT p.phone, 'mobile', :carrier, 'test', :now, :now
                FROM (SELECT m.phone, cume_dist() OVER (ORDER BY m.phone) AS place
                      FROM campaign_membership m) p
                WHERE p.place > :from AND p.place <= :to
            """),
            {"carrier": name, "now": NOW, "from": done, "to": done + share},
        )
        done += share
    await rows.session.commit()


async def set_weights(rows: RunningCampaign, *weights: int) -> None:
    await rows.session.execute(
        text("""
            UPDATE campaign_variant v SET weight = w.weight
            FROM unnest(CAST(:weights AS integer[])) WITH ORDINALITY AS w (weight, place)
            WHERE v.campaign_id = :campaign_id AND v.position = w.place - 1
        """),
        {"weights": list(weights), "campaign_id": rows.campaign.id},
    )
    await rows.session.commit()


async def forecast_days(rows: RunningCampaign, new_uow: NewUow) -> tuple[list[int], Any]:
    found = await forecast(new_uow, rows.campaign)
    return [day.texts for day in found.days], found


async def test_budget_applies_to_numbers_of_unknown_carriers(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_running_campaign(session)
    await rows.add_waiting(100)
    await set_carrier_budgets(session, t_mobile=40, att=900)

    days, found = await forecast_days(rows, new_uow)

    assert days == [40, 40, 20]
    assert found.binding_rule == "carrier_budget"
    assert "t_mobile" in found.detail
    assert "PATCH /v1/settings" in found.detail
    assert found.days[0].date == FIRST


async def test_other_carriers_are_not_delayed(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_running_campaign(session)
    await rows.add_waiting(100)
    await assign_carriers(rows, {"T-Mobile USA": 0.5, "Verizon Wireless": 0.5})
    await set_carrier_budgets(session, t_mobile=20)

    days, found = await forecast_days(rows, new_uow)

    assert days == [pytest.approx(70, abs=1), 20, pytest.approx(10, abs=1)]
    assert found.binding_rule == "carrier_budget"


async def test_budget_is_counted_in_segments(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_running_campaign(session, bodies=("x" * 200,))
    await rows.add_waiting(60)
    await set_carrier_budgets(session, t_mobile=60)

    days, _ = await forecast_days(rows, new_uow)

    assert days == [30, 30]


# With the weights 90 and 10, a message has 1.2 segments on average. With 10 and 90, it has 2.8, and
# with 95 and 5, it has 1.1.
@pytest.mark.parametrize(
    ("weights", "budget", "daily"),
    [((90, 10), 60, 50), ((10, 90), 60, 21), ((95, 5), 55, 50), ((100, 0), 60, 60)],
)
async def test_segments_of_variants_count_by_their_weights(
    session: AsyncSession, new_uow: NewUow, weights: tuple[int, ...], budget: int, daily: int
) -> None:
    rows = await make_running_campaign(session, bodies=(ONE, THREE))
    await set_weights(rows, *weights)
    await rows.add_waiting(100)
    await set_carrier_budgets(session, t_mobile=budget)

    days, found = await forecast_days(rows, new_uow)

    assert days[0] == daily
    assert found.binding_rule == "carrier_budget"


async def test_stopped_variant_does_not_count(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_running_campaign(session, bodies=(ONE, TWO, THREE))
    await set_weights(rows, 40, 40, 20)
    await session.execute(
        text("UPDATE campaign_variant SET stopped_at = :now WHERE position = 2"), {"now": NOW}
    )
    await rows.add_waiting(100)
    await set_carrier_budgets(session, t_mobile=60)

    days, _ = await forecast_days(rows, new_uow)

    assert days == [40, 40, 20]


async def test_variant_for_known_people_counts_by_these_people(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_running_campaign(session, bodies=(ONE, THREE), kind="mixed")
    await set_weights(rows, 100, 0)
    await session.execute(text("UPDATE campaign_variant SET for_known = position = 1"))
    await rows.add_waiting(100)
    await session.execute(
        text("UPDATE campaign_membership SET variant = 1 WHERE right(phone, 1) < '2'")
    )
    await set_carrier_budgets(session, t_mobile=60)

    days, _ = await forecast_days(rows, new_uow)

    # 80 people get one segment, and 20 people get three. So a message has 1.4 segments on average.
    assert days == [42, 42, 16]


async def test_segments_used_today_reduce_the_budget_of_today(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_running_campaign(session)
    await rows.add_waiting(50)
    await set_carrier_budgets(session, t_mobile=40)
    await session.execute(
        text("""
            INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status, segments,
                carrier, accepted_at, created_at, updated_at)
            SELECT uuid_v7(), 'manual', :line_id, uuid_v7(), '+16175550199', 'Hi', 'sent', 1,
                   't_mobile', :now, :now, :now
            FROM generate_series(1, 30)
        """),
        {"line_id": rows.line.id, "now": NOW},
    )
    await session.commit()

    days, found = await forecast_days(rows, new_uow)

    assert days == [10, 40]
    assert found.p50_finish_at.astimezone(NEW_YORK).date() == date(2026, 11, 26)


@pytest.mark.parametrize("budgets", [{}, {"t_mobile": 5000}, {"verizon": 1}])
async def test_budget_that_is_not_reached_changes_nothing(
    session: AsyncSession, new_uow: NewUow, budgets: dict[str, int]
) -> None:
    rows = await make_running_campaign(session, **EVEN)
    await rows.add_waiting(150)
    await assign_carriers(rows, {"AT&T": 1.0})
    await set_carrier_budgets(session, **budgets)

    days, found = await forecast_days(rows, new_uow)

    assert days == [125, 25]
    assert found.binding_rule != "carrier_budget"


async def test_budget_of_zero_has_no_finish(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_running_campaign(session)
    await rows.add_waiting(50)
    await set_carrier_budgets(session, t_mobile=0)

    days, found = await forecast_days(rows, new_uow)

    assert (days, found.p50_finish_at) == ([], None)
    assert found.binding_rule == "carrier_budget"
