"""Sums by hour and by day give the figures of the records, in any period, time zone and filter."""

from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History
from tests.domain.insight.test_measures import SEED, check

from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.errors import TooManyRecordsError
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.figures import compute_figures
from crm_api.domain.insight.measures.hour_sums import has_whole_hours
from crm_api.domain.insight.measures.records import RecordRequest, list_records
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.insight.measures.update_sums import merge_hour_sums
from crm_api.platform.database import UnitOfWorkFactory

SUMMED = sorted(
    one.name
    for one in MEASURES.values()
    if any(own.query.stored_sums for own in FigureRequest(measure=one).operands.values())
)
EVERYTHING = 10**6
AGO = {
    "a month ago": timedelta(days=30, minutes=7),
    "two days ago": timedelta(days=2, seconds=3),
    "within an hour": timedelta(minutes=59),
}
DIFFERENCES = text("""
    SELECT x.at, x.campaign_id, x.step, x.variant FROM (
        SELECT t.at, t.campaign_id, t.step, t.variant, t.sent, t.delivered, t.failed, t.replied,
               t.interested, t.opted_out, t.accepted, t.segments
        FROM insight_tally t WHERE t.grain = 'hour'
        UNION ALL
        SELECT date_trunc('hour', coalesce(m.sent_at, m.due_at), 'UTC'), m.campaign_id, m.step,
               m.variant, -(m.status <> 'failed')::integer, -(m.status = 'delivered')::integer,
               -(m.status = 'failed')::integer,
               -(m.status <> 'failed' AND m.replied_at IS NOT NULL)::integer,
               -(m.status <> 'failed' AND m.replied_at IS NOT NULL AND m.is_interested)::integer,
               -(m.status <> 'failed' AND m.opted_out_at IS NOT NULL)::integer, 0, 0
        FROM campaign_membership m WHERE m.status IN ('sent', 'delivered', 'failed')
        UNION ALL
        SELECT date_trunc('hour', a.accepted_at, 'UTC'),
               coalesce(a.campaign_id, '00000000-0000-0000-0000-000000000000'),
               coalesce(r.step, -1), coalesce(r.variant, -1), 0, 0, 0, 0, 0, 0,
               -1, -coalesce(a.segments, 1)
        FROM send_attempt a LEFT JOIN campaign_membership r ON r.id = a.membership_id
        WHERE a.accepted_at IS NOT NULL
    ) x
    GROUP BY x.at, x.campaign_id, x.step, x.variant
    HAVING sum(sent) <> 0 OR sum(delivered) <> 0 OR sum(failed) <> 0 OR sum(replied) <> 0
        OR sum(interested) <> 0 OR sum(opted_out) <> 0 OR sum(accepted) <> 0 OR sum(segments) <> 0
""")
# This statement counts the different sums of all granularities (`grain`). Each granularity has the
# same sums, so the result must be 1.
GRANULARITIES = text("""
    SELECT count(DISTINCT (x.sent, x.delivered, x.failed, x.replied, x.interested,
                           x.opted_out, x.accepted, x.segments))
    FROM (SELECT t.grain, sum(t.sent) AS sent, sum(t.delivered) AS delivered,
                 sum(t.failed) AS failed, sum(t.replied) AS replied,
                 sum(t.interested) AS interested, sum(t.opted_out) AS opted_out,
                 sum(t.accepted) AS accepted, sum(t.segments) AS segments
          FROM insight_tally t GROUP BY t.grain) x
""")
CHANGES = (
    "UPDATE campaign_membership SET status = 'failed' WHERE step = 1",
    "UPDATE campaign_membership SET sent_at = sent_at - interval '90 minutes' WHERE variant = 1",
    "UPDATE campaign_membership SET replied_at = now() WHERE status = 'delivered' AND step = 0",
    "UPDATE campaign_membership SET opted_out_at = NULL",
    "UPDATE campaign_membership SET is_interested = NOT is_interested WHERE step = 0",
    "UPDATE campaign_membership SET variant = 1 - variant, step = step + 2",
    "DELETE FROM campaign_membership WHERE status = 'failed'",
    "UPDATE send_attempt SET accepted_at = accepted_at + interval '1 day', segments = 5",
    "UPDATE send_attempt SET campaign_id = NULL, accepted_at = NULL WHERE segments % 2 = 1",
    "UPDATE send_attempt SET membership_id = NULL WHERE segments = 2",
    "DELETE FROM send_attempt",
)


async def made_history(session: AsyncSession, messages: int = 600) -> History:
    history = History(session, seed=SEED)
    await history.write(people=messages // 4, messages=messages, outcomes=30)
    await history.pay(10)
    return history


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
async def test_figure_is_its_rows_in_every_period(session: AsyncSession, zone: str) -> None:
    await made_history(session)
    for since, until in ((None, None), (NOW - AGO["a month ago"], None), *_pairs()):
        for name, by, bucket in _some(zone, seed=f"{SEED} {since} {until}"):
            request = FigureRequest(
                measure=MEASURES[name], by=by, bucket=bucket, zone=zone, since=since, until=until
            )
            await check_rows(session, request)


def _pairs() -> list[tuple[datetime, datetime]]:
    at = NOW - AGO["two days ago"]
    return [
        (NOW - AGO["a month ago"], at),
        (at, at + AGO["within an hour"]),
        (at.replace(minute=0, second=0), NOW.replace(minute=0, second=0)),
    ]


def _some(zone: str, *, seed: str) -> list[tuple[str, Dimension | None, Bucket | None]]:
    chance = Random(f"{zone} {seed}")  # noqa: S311 - a test's
    found = []
    for name in SUMMED:
        by = chance.choice([None, *sorted(MEASURES[name].by)])
        found.append((name, by, chance.choice([None, *Bucket])))
    return found


async def test_figure_is_its_rows_with_every_filter(session: AsyncSession) -> None:
    history = await made_history(session)
    campaign = history.campaigns[1]
    filters = {
        "campaign_id": campaign.id,
        "line_id": campaign.line_id,
        "list_id": campaign.audience["list_id"],
        "step": 1,
    }
    for name, (key, value) in product(SUMMED, filters.items()):
        if not all(
            own.query.has_campaign
            for own in FigureRequest(measure=MEASURES[name]).operands.values()
        ):
            continue
        for by in (None, Dimension.CAMPAIGN, Dimension.HOUR):
            request = FigureRequest(
                measure=MEASURES[name], by=by, zone="America/New_York", **{key: value}
            )
            await check_rows(session, request)


async def check_rows(session: AsyncSession, request: FigureRequest) -> None:
    found = await compute_figures(session, request, now=NOW)
    page = await list_records(
        session, RecordRequest(request=request), cursor=None, limit=EVERYTHING
    )
    check(found.total, page.data, request.measure)
    if request.by is not None and request.bucket is None:
        assert {one.key for one in found.rows} == {one.key for one in page.data}
        for figure in found.rows:
            own = [one for one in page.data if one.key == figure.key]
            check(figure, own, request.measure)
    sums = request.query.stored_sums
    if request.measure.quotient_of is None and sums is not None and sums.ripe_after is not None:
        young = [one for one in page.data if one.at > NOW - sums.ripe_after]
        assert found.total.unripe == len(young)


@pytest.mark.parametrize("change", CHANGES)
async def test_sums_follow_every_write(session: AsyncSession, change: str) -> None:
    await made_history(session, messages=300)
    assert (await session.execute(DIFFERENCES)).all() == []

    await session.execute(text(change))

    assert (await session.execute(DIFFERENCES)).all() == []
    assert await session.scalar(GRANULARITIES) == 1


async def test_merged_sums_are_the_same(session: AsyncSession, new_uow: UnitOfWorkFactory) -> None:
    await made_history(session, messages=300)
    for change in CHANGES[:3]:
        await session.execute(text(change))
    await session.commit()
    merged = 0
    for _ in range(200):
        async with new_uow() as uow:
            found = await merge_hour_sums(uow, most=50)
        merged += found
        if not found:
            break

    assert merged
    assert (await session.execute(DIFFERENCES)).all() == []
    assert await session.scalar(GRANULARITIES) == 1
    rows = await session.scalar(text("SELECT count(*) FROM insight_tally"))
    cells = await session.scalar(
        text(
            "SELECT count(*) FROM (SELECT DISTINCT grain, campaign_id, step, variant, at "
            "FROM insight_tally WHERE is_merged) x"
        )
    )
    assert rows == cells


async def test_figure_that_takes_too_long_says_what_to_narrow(session: AsyncSession) -> None:
    await made_history(session, messages=2000)
    request = FigureRequest(measure=MEASURES["reply_rate"], by=Dimension.YEAR_BUILT_BAND)
    # This call lets the driver prepare the statement. If the time limit cancelled the preparation,
    # another error could be raised.
    await compute_figures(session, request, now=NOW)

    with pytest.raises(TooManyRecordsError, match="shorter period"):
        await compute_figures(session, request, now=NOW, seconds=0.001)


def test_zone_with_whole_hours() -> None:
    assert has_whole_hours("America/New_York")
    assert has_whole_hours("UTC")
    assert not has_whole_hours("Asia/Kathmandu")
    assert not has_whole_hours("Australia/Lord_Howe")
    assert NOW.tzinfo is UTC
