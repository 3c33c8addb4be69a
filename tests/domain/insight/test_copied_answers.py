"""The stored answers give the same figures as the messages, while conversations change."""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History
from tests.domain.insight.test_hour_sums import check_rows
from tests.domain.insight.test_measures import SEED

from crm_api.domain.insight.measures.copy_records import copy_answers
from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.queries import ANSWERS
from crm_api.domain.insight.measures.record_query import in_period
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.platform.database import UnitOfWorkFactory

MEASURE = MEASURES["time_to_answer"]
REQUESTS = (
    FigureRequest(measure=MEASURE),
    FigureRequest(measure=MEASURE, by=Dimension.ZIP),
    FigureRequest(measure=MEASURE, by=Dimension.HOUR, zone="America/New_York"),
    FigureRequest(measure=MEASURE, by=Dimension.WEEKDAY, zone="Asia/Kolkata"),
    FigureRequest(measure=MEASURE, bucket=Bucket.WEEK, by=Dimension.CITY),
    FigureRequest(
        measure=MEASURE, since=NOW - timedelta(days=40, minutes=7), until=NOW - timedelta(days=9)
    ),
)
DIFFERENCES = text(f"""
    SELECT id, contact_id, at, amount FROM ({in_period(ANSWERS.sql, since=None, until=None)}) a
    WHERE a.at < (SELECT u.until FROM insight_answer_until u)
    EXCEPT SELECT k.id, k.contact_id, k.at, k.waited FROM insight_answer k
""")
STORED = text("SELECT count(*) FROM insight_answer")
DUE = text(f"""
    SELECT count(*) FROM ({in_period(ANSWERS.sql, since=None, until=None)}) a
    WHERE a.at < (SELECT u.until FROM insight_answer_until u)
""")
WAITING = text("SELECT count(*) FROM insight_answer_change")
A_MESSAGE = """
    INSERT INTO activity (id, kind, direction, origin, conversation_id, contact_id, status,
        occurred_at, created_at, updated_at)
    SELECT uuid_v7(), 'message', {values}, a.conversation_id, a.contact_id, 'delivered', {at},
           now(), now()
    FROM activity a WHERE a.kind = 'message' AND a.direction = 'incoming'
"""
CHANGES = (
    A_MESSAGE.format(values="'incoming', 'provider'", at="a.occurred_at - interval '5 hours'"),
    A_MESSAGE.format(values="'outgoing', 'campaign'", at="a.occurred_at + interval '2 minutes'"),
    A_MESSAGE.format(values="'outgoing', 'manual'", at="a.occurred_at + interval '8 minutes'"),
    A_MESSAGE.format(values="'outgoing', 'manual'", at="now()"),
    A_MESSAGE.format(values="'incoming', 'provider'", at="now() + interval '2 hours'"),
    "UPDATE activity SET status = 'failed' WHERE origin = 'manual' AND right(id::text, 1) > '7'",
    "UPDATE activity SET status = 'sent' WHERE origin = 'manual'",
    (
        "UPDATE activity SET occurred_at = occurred_at - interval '300 minutes' "
        "WHERE direction = 'outgoing'"
    ),
    "UPDATE activity SET occurred_at = now() WHERE direction = 'outgoing'",
    "UPDATE activity SET contact_id = NULL WHERE direction = 'outgoing'",
    (
        "UPDATE activity SET direction = 'outgoing' WHERE direction = 'incoming' "
        "AND extract(minute FROM occurred_at)::integer % 2 = 0"
    ),
    "UPDATE activity SET origin = 'campaign' WHERE origin = 'manual'",
    "UPDATE activity SET conversation_id = (SELECT min(id::text)::uuid FROM conversation)",
    "UPDATE activity SET conversation_id = NULL WHERE direction = 'incoming'",
    (
        "DELETE FROM activity WHERE direction = 'incoming' "
        "AND extract(minute FROM occurred_at)::integer % 3 = 0"
    ),
    "DELETE FROM activity WHERE direction = 'outgoing'",
    "DELETE FROM activity",
)


async def update(session: AsyncSession, new_uow: UnitOfWorkFactory) -> None:
    await session.commit()
    for _ in range(1000):
        async with new_uow() as uow:
            if not await copy_answers(uow, most=10, most_changes=7):
                break
    assert (await session.execute(DIFFERENCES)).all() == []
    assert await session.scalar(STORED) == await session.scalar(DUE)


async def check_figures(session: AsyncSession) -> None:
    for request in REQUESTS:
        await check_rows(session, request)


async def made_history(session: AsyncSession) -> History:
    history = History(session, seed=SEED)
    await history.write(people=60, messages=40, outcomes=5)
    return history


@pytest.mark.parametrize("change", CHANGES)
async def test_figure_is_its_rows_after_every_write(
    session: AsyncSession, new_uow: UnitOfWorkFactory, change: str
) -> None:
    await made_history(session)
    await check_figures(session)
    await update(session, new_uow)
    assert await session.scalar(STORED) > 0
    assert await session.scalar(WAITING) == 0
    await check_figures(session)

    await session.execute(text(change))

    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)


async def test_figure_is_its_rows_while_people_are_merged_and_erased(
    session: AsyncSession, new_uow: UnitOfWorkFactory, client: httpx.AsyncClient
) -> None:
    history = await made_history(session)
    await update(session, new_uow)

    await history.merge_and_erase(client, count=6)

    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)


async def test_message_of_the_last_hour_notes_no_change(session: AsyncSession) -> None:
    await made_history(session)
    before = await session.scalar(WAITING)

    await session.execute(text(CHANGES[3]))
    await session.execute(
        text("UPDATE activity SET status = 'sent' WHERE occurred_at > now() - interval '1 minute'")
    )

    assert await session.scalar(WAITING) == before
