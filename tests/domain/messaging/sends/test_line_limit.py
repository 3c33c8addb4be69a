"""The number of messages that a line may send on a day."""

from datetime import UTC, date, datetime, timedelta

import pytest
from tests.factories import make_line

from crm_api.domain.messaging.sends.usage import count_usage, limit_on
from crm_api.platform.database import UnitOfWorkFactory

FIRST = date(2026, 11, 25)
PLAN = [20, 40, 80, 125]


def test_daily_limit_applies_without_a_plan() -> None:
    assert limit_on(None, None, 125, FIRST) == 125
    assert limit_on([], FIRST, 125, FIRST) == 125


def test_first_entry_applies_until_the_first_message() -> None:
    assert limit_on(PLAN, None, 125, FIRST + timedelta(days=300)) == 20


@pytest.mark.parametrize(
    ("days", "limit"), [(0, 20), (1, 40), (2, 80), (3, 125), (4, 200), (400, 200)]
)
def test_each_day_has_its_entry_and_then_the_daily_limit_applies(days: int, limit: int) -> None:
    assert limit_on(PLAN, FIRST, 200, FIRST + timedelta(days=days)) == limit


def test_plan_never_exceeds_the_daily_limit() -> None:
    assert [limit_on(PLAN, FIRST, 50, FIRST + timedelta(days=days)) for days in range(5)] == [
        20,
        40,
        50,
        50,
        50,
    ]
    assert limit_on(PLAN, None, 0, FIRST) == 0


def test_day_before_the_plan_begins_has_the_first_entry() -> None:
    assert limit_on(PLAN, FIRST, 200, FIRST - timedelta(days=1)) == 20


async def test_first_entry_applies_if_the_line_moves_to_a_time_zone_further_west(
    new_uow: UnitOfWorkFactory,
) -> None:
    now = datetime(2026, 11, 25, 3, tzinfo=UTC)  # still 24 November in Los Angeles
    async with new_uow() as uow:
        line = await make_line(
            uow.session,
            ramp_plan=PLAN,
            ramp_started_on=FIRST,
            timezone="America/Los_Angeles",
        )
        (usage,) = await count_usage(
            uow.session, line_ids=[line.id], campaign_id=None, grace=600, now=now
        )

    assert usage.line_limit == limit_on(PLAN, FIRST, 125, FIRST - timedelta(days=1)) == 20
