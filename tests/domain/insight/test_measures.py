"""Every figure agrees with the records that it counts, by measure and breakdown.

The records are a random history.
"""

import os
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from random import randrange
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History

from crm_api.domain.insight.attribution.models import AttributionModel, TouchClass
from crm_api.domain.insight.attribution.rules import add_rules, find_rules
from crm_api.domain.insight.attribution.runs import fill_credits
from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.figures import Figure, Figures, Number, compute_figures
from crm_api.domain.insight.measures.records import (
    Record,
    RecordRequest,
    list_records,
    records_statement,
)
from crm_api.domain.insight.measures.registry import MEASURES, Measure, Unit
from crm_api.platform.database import UnitOfWorkFactory, typed_rows

SEED = int(os.environ.get("INSIGHT_SEED", randrange(10**6)))  # noqa: S311 - a test's
MESSAGES = int(os.environ.get("INSIGHT_EXAMPLES", "20000"))
EVERYTHING = 10**6
ZONE = "America/New_York"


async def figures_of(session: AsyncSession, measure: str, **wanted: object) -> Figures:
    request = FigureRequest(measure=MEASURES[measure], zone=ZONE, **wanted)  # type: ignore[arg-type]
    return await compute_figures(session, request, now=NOW)


def check(figure: Figure, rows: list[Record], measure: Measure) -> None:
    """Assert that a figure is the count, sum, rate or median of its records."""
    if measure.quotient_of is not None:
        numerator, denominator = measure.quotient_of
        below = [one for one in rows if one.part == "denominator"]
        above = [Decimal(one.amount or 0) for one in rows if one.part == "numerator"]
        assert figure.numerator == sum(above)
        is_amount = denominator.is_sum or any(one.amount is not None for one in below)
        counted = sum(Decimal(one.amount or 0) for one in below) if is_amount else len(below)
        assert abs(decimal(figure.denominator) - counted) < Decimal("0.001")
        assert len(above) + len(below) == len(rows)
        assert numerator.is_sum
        return
    amounts = [Decimal(one.amount) for one in rows if one.amount is not None]
    if measure.unit is Unit.RATE:
        assert figure.denominator == len(rows)
        assert figure.numerator == sum(one.counted is True for one in rows)
    elif measure.unit is Unit.SECONDS:
        assert figure.denominator == len(rows)
        ordered = sorted(amounts)
        median = round(ordered[(len(ordered) + 1) // 2 - 1]) if ordered else None
        assert figure.value == median
    elif measure.unit is Unit.CENTS:
        assert figure.value == sum(amounts)
    elif amounts:
        assert abs(decimal(figure.value) - sum(amounts)) < Decimal("0.001")
    else:
        assert figure.value == len(rows)


def decimal(value: Number | None) -> Decimal:
    return Decimal(value or 0)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts and sums that the database makes of a figure's records.

    Attributes:
        key: Value of the breakdown; None in a total.
        part: The part of a rate or quotient: numerator or denominator.
    """

    key: str | None
    part: str
    is_total: bool
    records: int
    counted: int
    amounts: int
    amount: Decimal | None
    median: Decimal | None


NO_RECORDS = Tally(
    key=None, part="", is_total=True, records=0, counted=0, amounts=0, amount=None, median=None
)
# The inner statement is the one whose rows the API returns.
TALLIES = """
    SELECT grouping(r.key) = 1 AS is_total, r.key, r.part, count(*) AS records,
           count(*) FILTER (WHERE r.counted) AS counted, count(r.amount) AS amounts,
           sum(r.amount) AS amount,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY r.amount) AS median
    FROM ({records}) r GROUP BY GROUPING SETS ((r.key, r.part), (r.part))
"""


async def tallies_of(session: AsyncSession, wanted: RecordRequest) -> list[Tally]:
    statement, values = records_statement(wanted, after=None, limit=None)
    return typed_rows(Tally, await session.execute(text(TALLIES.format(records=statement)), values))


def check_tallies(figure: Figure, found: list[Tally], measure: Measure) -> None:
    """Assert that a figure agrees with the database's counts and sums of its records."""
    parts = {one.part: one for one in found}
    below = parts.get("denominator", NO_RECORDS)
    if measure.quotient_of is not None:
        above = parts.get("numerator", NO_RECORDS)
        assert figure.numerator == (above.amount or 0)
        is_amount = measure.quotient_of[1].is_sum or below.amounts
        counted = (below.amount or 0) if is_amount else below.records
        assert abs(decimal(figure.denominator) - counted) < Decimal("0.001")
    elif measure.unit is Unit.RATE:
        assert (figure.numerator, figure.denominator) == (below.counted, below.records)
    elif measure.unit is Unit.SECONDS:
        assert figure.denominator == below.records
        assert figure.value == (None if below.median is None else round(below.median))
    elif measure.unit is Unit.CENTS:
        assert figure.value == (below.amount or 0)
    elif below.amounts:
        assert abs(decimal(figure.value) - (below.amount or 0)) < Decimal("0.001")
    else:
        assert figure.value == below.records


@pytest.mark.timeout(300)
async def test_every_figure_is_its_rows(
    session: AsyncSession, client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    print(f"INSIGHT_SEED={SEED} INSIGHT_EXAMPLES={MESSAGES}")  # noqa: T201 - repeats the run
    history = History(session, seed=SEED)
    await history.write(people=MESSAGES // 4, messages=MESSAGES, outcomes=MESSAGES // 40)
    await history.pay(MESSAGES // 100)
    await history.merge_and_erase(client, count=10)
    await session.execute(text("ANALYZE"))
    async with new_uow() as uow:
        windows = {TouchClass.REPLIED: 2160, TouchClass.CALLED: 720, TouchClass.DELIVERED: 72}
        model = history.chance.choice(list(AttributionModel))
        rules = (
            await add_rules(uow, model=model, windows=windows, created_by="test", now=NOW)
        ).rules
        await fill_credits(uow, rules, now=NOW)

    sums: dict[tuple[str, Dimension | None], dict[str | None, Decimal]] = {}
    for measure in MEASURES.values():
        assert measure.by
        for by in [None, *sorted(measure.by)]:
            print(f"{measure.name} by {by}, {model}")  # noqa: T201 - what failed
            request = FigureRequest(measure=measure, by=by, zone=ZONE, rules_version=rules.version)
            found = await compute_figures(session, request, now=NOW)
            sums[measure.name, by] = {one.key: decimal(one.value) for one in found.rows} | {
                "total": decimal(found.total.value)
            }
            tallies = await tallies_of(session, RecordRequest(request=request))
            check_tallies(found.total, [one for one in tallies if one.is_total], measure)
            _check_rows(found, tallies, request)
    _check_money(sums)


def _check_money(sums: dict[tuple[str, Dimension | None], dict[str | None, Decimal]]) -> None:
    """Assert that attributed and unattributed revenue sum to the whole revenue, for each key."""
    for by in [None, *MEASURES["revenue"].by]:
        revenue = sums["revenue", by]
        assert revenue["total"] == sums["revenue", None]["total"] > 0
        own = sums["revenue_attributed", by]
        # Unattributed revenue belongs to no campaign, so its key in the breakdown by campaign is
        # None.
        unattributed = sums["revenue_unattributed", None]["total"]
        rest = sums.get(("revenue_unattributed", by), dict.fromkeys((None, "total"), unattributed))
        assert rest["total"] == unattributed
        for key, cents in revenue.items():
            assert cents == own.get(key, 0) + rest.get(key, 0), (by, key)


@pytest.mark.timeout(300)
async def test_every_figure_is_the_list_of_its_rows(
    session: AsyncSession, client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    """Compare figures with the records that the API returns: for a total, a key and each month."""
    print(f"INSIGHT_SEED={SEED}")  # noqa: T201 - repeats the run
    history = History(session, seed=SEED)
    await history.write(people=250, messages=1_000, outcomes=100)
    await history.pay(10)
    await history.merge_and_erase(client, count=5)
    async with new_uow() as uow:
        await fill_credits(uow, await find_rules(uow, version=None), now=NOW)

    async def rows_of(request: FigureRequest, **of_figure: Any) -> list[Record]:
        wanted = RecordRequest(request=request, **of_figure)
        page = await list_records(session, wanted, cursor=None, limit=EVERYTHING)
        return page.data

    for measure in MEASURES.values():
        by = min(measure.by)
        print(f"{measure.name} by {by}")  # noqa: T201 - what failed
        request = FigureRequest(measure=measure, by=by, zone=ZONE)
        found = await compute_figures(session, request, now=NOW)
        check(found.total, await rows_of(request), measure)
        for figure in found.rows[:2]:
            check(figure, await rows_of(request, key=figure.key or ""), measure)
        monthly = FigureRequest(measure=measure, bucket=Bucket.MONTH, zone=ZONE)
        months = (await compute_figures(session, monthly, now=NOW)).rows
        for figure in months:
            rows = await rows_of(monthly, bucket_start=figure.bucket_start)
            check(figure, rows, measure)
        assert len(months) > 1


def _check_rows(found: Figures, tallies: list[Tally], request: FigureRequest) -> None:
    """Assert that the rows of a breakdown agree with their records and sum to the total."""
    measure = request.measure
    if request.by is None:
        assert found.rows == []
        return
    own: dict[str | None, list[Tally]] = defaultdict(list)
    for one in tallies:
        if not one.is_total:
            own[one.key].append(one)
    assert len(found.rows) == len(own)
    for figure in found.rows:
        check_tallies(figure, own[figure.key], measure)
    summed = "denominator" if measure.unit is Unit.SECONDS else "numerator"
    total = sum(decimal(getattr(one, summed)) for one in found.rows)
    assert abs(total - decimal(getattr(found.total, summed))) < Decimal("0.01")


@pytest.mark.parametrize("by", [None, Dimension.CITY, Dimension.WEEKDAY])
async def test_attributed_and_unattributed_are_the_total_to_the_cent(
    session: AsyncSession, new_uow: UnitOfWorkFactory, by: Dimension | None
) -> None:
    history = History(session, seed=SEED)
    await history.write(people=100, messages=400, outcomes=200)
    async with new_uow() as uow:
        await fill_credits(uow, await find_rules(uow, version=None), now=NOW)

    async def cents(measure: str) -> dict[str | None, Decimal]:
        found = await figures_of(session, measure, by=by)
        rows = {one.key: decimal(one.value) for one in found.rows}
        return rows | {"the total": decimal(found.total.value)}

    total, own, rest = [
        await cents(name) for name in ("revenue", "revenue_attributed", "revenue_unattributed")
    ]
    assert sum(total.values())
    for key, value in total.items():
        assert own.get(key, 0) + rest.get(key, 0) == value
