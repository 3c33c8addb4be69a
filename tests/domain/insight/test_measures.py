"""Every figure is its rows: for each measure and breakdown, on a random history."""

import os
from decimal import Decimal
from random import randrange

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History

from crm_api.domain.insight.attribution.rules import find_rules
from crm_api.domain.insight.attribution.runs import fill_credits
from crm_api.domain.insight.measures.compiling import InsightQuestion
from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.figures import Figure, Figures, Number, compute_figures
from crm_api.domain.insight.measures.registry import MEASURES, Measure, Unit
from crm_api.domain.insight.measures.rows import FigureRows, Record, list_records
from crm_api.platform.database import UnitOfWorkFactory

SEED = int(os.environ.get("INSIGHT_SEED", randrange(10**6)))  # noqa: S311 - a test's
MESSAGES = int(os.environ.get("INSIGHT_EXAMPLES", "2000"))
EVERYTHING = 10**6
ZONE = "America/New_York"


async def figures_of(session: AsyncSession, measure: str, **wanted: object) -> Figures:
    question = InsightQuestion(measure=MEASURES[measure], zone=ZONE, **wanted)  # type: ignore[arg-type]
    return await compute_figures(session, question, now=NOW)


def check(figure: Figure, rows: list[Record], measure: Measure) -> None:
    """Assert that a figure is the count or the sum of its rows."""
    if measure.divided is not None:
        numerator, denominator = measure.divided
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


@pytest.mark.timeout(600)
async def test_every_figure_is_its_rows(
    session: AsyncSession, client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    print(f"INSIGHT_SEED={SEED}")  # noqa: T201 - repeats the run
    history = History(session, seed=SEED)
    await history.write(people=MESSAGES // 4, messages=MESSAGES, outcomes=MESSAGES // 20)
    await history.pay(MESSAGES // 100)
    await history.merge_and_erase(client, count=5)
    async with new_uow() as uow:
        await fill_credits(uow, await find_rules(uow, version=None), now=NOW)

    for measure in MEASURES.values():
        assert measure.by
        for by in [None, *sorted(measure.by)]:
            for bucket in (None, Bucket.MONTH):
                question = InsightQuestion(measure=measure, by=by, bucket=bucket, zone=ZONE)
                found = await compute_figures(session, question, now=NOW)
                page = await list_records(
                    session, FigureRows(question=question), cursor=None, limit=EVERYTHING
                )
                check(found.total, page.data, measure)
                _check_rows(found, page.data, question)
        for figure in (await figures_of(session, measure.name, by=min(measure.by))).rows[:2]:
            question = InsightQuestion(measure=measure, by=min(measure.by), zone=ZONE)
            wanted = FigureRows(question=question, key=figure.key or "")
            own = await list_records(session, wanted, cursor=None, limit=EVERYTHING)
            check(figure, own.data, measure)


def _check_rows(found: Figures, records: list[Record], question: InsightQuestion) -> None:
    """Assert that the rows of a breakdown add up to its total, each with its own records."""
    measure = question.measure
    if question.by is None and question.bucket is None:
        assert found.rows == []
        return
    assert len({(one.key, one.bucket_start) for one in found.rows}) == len(found.rows)
    if question.bucket is None:
        for figure in found.rows:
            check(figure, [one for one in records if one.key == figure.key], measure)
    if measure.unit is Unit.SECONDS:
        assert sum(decimal(one.denominator) for one in found.rows) == decimal(
            found.total.denominator
        )
        return
    total = sum(decimal(one.numerator) for one in found.rows)
    assert abs(total - decimal(found.total.numerator)) < Decimal("0.01")


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
        return {one.key: decimal(one.value) for one in [found.total, *found.rows]}

    total, own, rest = [
        await cents(name) for name in ("revenue", "revenue_attributed", "revenue_unattributed")
    ]
    assert sum(total.values())
    for key, value in total.items():
        assert own.get(key, 0) + rest.get(key, 0) == value
