"""The stored outcomes give the same figures by place as the ledger, after every change.

A place is the ZIP, city and source of a person.
"""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History
from tests.domain.insight.test_hour_sums import check_rows
from tests.domain.insight.test_measures import SEED
from tests.domain.insight.test_place_sums import MOVES

from crm_api.domain.insight.attribution.rules import find_rules
from crm_api.domain.insight.attribution.runs import fill_credits
from crm_api.domain.insight.measures.copy_records import add_places, copy_outcomes
from crm_api.domain.insight.measures.dimensions import PLACES, Bucket, Dimension
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.insight.measures.update_sums import update_place_sums
from crm_api.platform.database import UnitOfWorkFactory

NAMES = (
    *("appointments", "revenue", "revenue_attributed", "revenue_unattributed", "return"),
    "cost_per_job",
)
REQUESTS = (
    *(FigureRequest(measure=MEASURES[name], by=by) for name in NAMES for by in PLACES),
    FigureRequest(measure=MEASURES["revenue"], by=Dimension.ZIP, bucket=Bucket.WEEK),
    FigureRequest(
        measure=MEASURES["revenue_attributed"],
        by=Dimension.ZIP,
        since=NOW - timedelta(days=50),
        until=NOW - timedelta(days=9, minutes=3),
    ),
)
DUE = text("""
    SELECT o.id, s.contact_id, o.kind, o.occurred_at, o.amount_cents,
           nullif(left(p.postal_code, 5), '') AS zip, nullif(p.city, '') AS city, o.source
    FROM outcome o LEFT JOIN outcome_subject s ON s.outcome_id = o.id
    LEFT JOIN contact e ON e.id = s.contact_id
    LEFT JOIN contact p ON p.id = coalesce(e.merged_into, e.id)
    WHERE o.reverses_id IS NULL AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id)
    ORDER BY o.id
""")
STORED = text("""
    SELECT k.id, k.contact_id, k.kind, k.at, k.amount_cents, k.zip, k.city, k.source
    FROM insight_outcome k WHERE k.is_placed ORDER BY k.id
""")
CHANGED = text("SELECT count(*) FROM insight_outcome_change")
AN_OUTCOME = """
    WITH made AS (
        INSERT INTO outcome (id, kind, amount_cents, currency, occurred_at, source, recorded_by,
            created_at)
        SELECT uuid_v7(), o.kind, 777, 'USD', o.occurred_at, 'api', 'key', now() FROM outcome o
        WHERE o.reverses_id IS NULL
        RETURNING id
    )
    INSERT INTO outcome_subject (outcome_id, contact_id)
    SELECT m.id, (SELECT c.id FROM contact c ORDER BY c.id LIMIT 1) FROM made m
"""
WITHOUT_SUBJECT = """
    INSERT INTO outcome (id, kind, amount_cents, currency, occurred_at, source, recorded_by,
        created_at)
    SELECT uuid_v7(), o.kind, 333, 'USD', o.occurred_at, 'api', 'key', now() FROM outcome o
    WHERE o.reverses_id IS NULL
"""
A_REVERSAL = """
    INSERT INTO outcome (id, kind, amount_cents, currency, occurred_at, source, recorded_by,
        reverses_id, created_at)
    SELECT uuid_v7(), o.kind, -o.amount_cents, 'USD', now(), o.source, 'key', o.id, now()
    FROM outcome o WHERE o.reverses_id IS NULL AND right(o.id::text, 1) > '7'
      AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id)
"""
CHANGES = (
    AN_OUTCOME,
    WITHOUT_SUBJECT,
    A_REVERSAL,
    "UPDATE outcome_subject SET contact_id = NULL WHERE right(outcome_id::text, 1) > '7'",
    (
        "UPDATE outcome_subject SET contact_id = (SELECT min(id::text)::uuid FROM contact), "
        "phone = NULL"
    ),
    (
        "UPDATE contact SET phone = (SELECT min(s.phone) FROM outcome_subject s) "
        "WHERE id = (SELECT min(id::text)::uuid FROM contact)"
    ),
    "DELETE FROM outcome_subject WHERE right(outcome_id::text, 1) > '7'",
    "DELETE FROM property_contact; DELETE FROM contact WHERE right(id::text, 1) > '7'",
    *MOVES,
)


async def made_history(session: AsyncSession, new_uow: UnitOfWorkFactory) -> History:
    history = History(session, seed=SEED)
    await history.write(people=40, messages=200, outcomes=60)
    await history.pay(10)
    await credit(new_uow)
    return history


async def credit(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await fill_credits(uow, await find_rules(uow, version=None), now=NOW)


async def update(session: AsyncSession, new_uow: UnitOfWorkFactory) -> None:
    """Run the updating jobs in small steps; check that the stored rows equal the ledger."""
    await session.commit()
    for _ in range(1000):
        is_more = False
        async with new_uow() as uow:
            is_more |= await update_place_sums(uow, most=40)
        async with new_uow() as uow:
            is_more |= await copy_outcomes(uow, most=7)
        async with new_uow() as uow:
            is_more |= await add_places(uow, most=9)
        if not is_more:
            break
    assert (await session.execute(STORED)).all() == (await session.execute(DUE)).all()
    assert await session.scalar(CHANGED) == 0


async def check_figures(session: AsyncSession) -> None:
    for request in REQUESTS:
        await check_rows(session, request)


@pytest.mark.parametrize("change", CHANGES)
async def test_figure_is_its_rows_after_every_write(
    session: AsyncSession, new_uow: UnitOfWorkFactory, change: str
) -> None:
    await made_history(session, new_uow)
    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)

    for one in change.split(";"):
        await session.execute(text(one))

    await check_figures(session)
    await credit(new_uow)
    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)


async def test_figure_is_its_rows_while_people_are_merged_and_erased(
    session: AsyncSession, new_uow: UnitOfWorkFactory, client: httpx.AsyncClient
) -> None:
    history = await made_history(session, new_uow)
    await update(session, new_uow)

    await history.merge_and_erase(client, count=6)

    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)
