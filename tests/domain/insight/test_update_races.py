"""Figures stay correct if a write runs at the same time as a job that stores records.

The jobs and the writes have real connections.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from sqlalchemy import text
from tests.domain.insight.history import History
from tests.domain.insight.test_hour_sums import check_rows
from tests.domain.insight.test_measures import SEED

from crm_api.domain.insight.measures.copy_records import (
    add_places,
    copy_answers,
    copy_outcomes,
    copy_replies,
)
from crm_api.domain.insight.measures.dimensions import PLACES
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.insight.measures.update_sums import update_place_sums
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

Update = Callable[[UnitOfWork], Awaitable[bool]]
JOBS: tuple[Update, ...] = (
    *(update_place_sums, copy_answers, copy_replies, copy_outcomes, add_places),
)
REQUESTS = [
    FigureRequest(measure=MEASURES[name], by=by)
    for name in ("time_to_answer", "time_to_reply", "revenue", "replies")
    for by in PLACES
]
STORED = text("""
    SELECT (SELECT count(*) FROM insight_answer) AS answers,
           (SELECT count(*) FROM insight_reply) AS replies,
           (SELECT count(*) FROM insight_outcome) AS outcomes,
           (SELECT count(*) FROM insight_answer k WHERE NOT k.is_placed)
               + (SELECT count(*) FROM insight_reply k WHERE NOT k.is_placed)
               + (SELECT count(*) FROM insight_outcome k WHERE NOT k.is_placed) AS unplaced
""")
HALF = "right(id::text, 1) > '7'"
WRITES = {
    "messages": (
        f"UPDATE activity SET status = 'failed' WHERE origin = 'manual' AND {HALF}",
        f"UPDATE activity SET occurred_at = occurred_at - interval '2 hours' WHERE {HALF}",
        "UPDATE campaign_membership SET replied_at = replied_at + interval '1 minute'",
        f"UPDATE campaign_membership SET status = 'failed' WHERE {HALF}",
    ),
    "outcomes": (
        (
            "UPDATE outcome_subject SET contact_id = (SELECT min(id::text)::uuid FROM contact), "
            "phone = NULL WHERE right(outcome_id::text, 1) > '7'"
        ),
    ),
    "people": (
        "UPDATE contact SET postal_code = '01001', city = 'Agawam'",
        f"UPDATE contact SET postal_code = NULL WHERE {HALF}",
    ),
}


async def write_history(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        history = History(uow.session, seed=SEED)
        await history.write(people=60, messages=200, outcomes=30)


async def write(uow: UnitOfWork, what: str) -> None:
    for one in WRITES[what]:
        await uow.session.execute(text(one))


async def update_all(new_uow: UnitOfWorkFactory) -> None:
    for update in JOBS:
        is_more = True
        while is_more:
            async with new_uow() as uow:
                is_more = await update(uow)


async def check_figures(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        for request in REQUESTS:
            await check_rows(uow.session, request)


@pytest.mark.parametrize(("first", "second"), [*zip(JOBS, JOBS, strict=True), *pairwise(JOBS)])
async def test_one_transaction_updates_at_a_time(
    committed_uow: UnitOfWorkFactory, first: Update, second: Update
) -> None:
    async with committed_uow() as running:
        await first(running)
        async with committed_uow() as other:
            is_more = await second(other)

    assert not is_more


@pytest.mark.parametrize(
    ("update", "lock"),
    [(update_place_sums, "insight_person_tally"), (copy_answers, "insight_answer")],
)
async def test_job_of_the_release_before_is_waited_for(
    committed_uow: UnitOfWorkFactory, update: Update, lock: str
) -> None:
    await write_history(committed_uow)
    async with committed_uow() as running:
        await running.session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))"), {"lock": lock}
        )
        async with committed_uow() as other:
            is_more = await update(other)

    assert not is_more
    async with committed_uow() as other:
        assert await update(other)


async def test_two_workers_store_each_record_once(committed_uow: UnitOfWorkFactory) -> None:
    await write_history(committed_uow)

    async def work(order: tuple[Update, ...]) -> None:
        for _ in range(20):
            for update in order:
                async with committed_uow() as uow:
                    await update(uow)

    await asyncio.gather(work(JOBS), work(JOBS[::-1]))

    await update_all(committed_uow)
    await check_figures(committed_uow)
    async with committed_uow() as uow:
        stored = (await uow.session.execute(STORED)).one()
    assert stored.unplaced == 0
    assert min(stored.answers, stored.replies, stored.outcomes) > 0


@pytest.mark.parametrize("is_updated", [False, True])
@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("update", JOBS)
async def test_figure_is_its_rows_after_a_write_while_a_job_runs(
    committed_uow: UnitOfWorkFactory, update: Update, what: str, *, is_updated: bool
) -> None:
    """Test a write that commits after the statements of the job, but before the job commits."""
    await write_history(committed_uow)
    if is_updated:
        await update_all(committed_uow)
    async with committed_uow() as running:
        await update(running)
        async with committed_uow() as writer:
            await write(writer, what)

    await check_figures(committed_uow)
    await update_all(committed_uow)
    await check_figures(committed_uow)


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("update", JOBS)
async def test_figure_is_its_rows_after_a_write_that_was_open_before_the_job(
    committed_uow: UnitOfWorkFactory, update: Update, what: str
) -> None:
    """Test a write that begins before the job and commits after it."""
    await write_history(committed_uow)
    async with committed_uow() as writer:
        await write(writer, what)
        async with committed_uow() as running:
            await update(running)

    await check_figures(committed_uow)
    await update_all(committed_uow)
    await check_figures(committed_uow)
