"""The stored times to a reply or an answer, and the stored places, give the figures of the records.

A place is the ZIP, city and source of a person.
"""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History
from tests.domain.insight.test_copied_answers import made_history
from tests.domain.insight.test_hour_sums import EVERYTHING, check_rows
from tests.domain.insight.test_measures import SEED
from tests.domain.insight.test_place_sums import MOVES

from crm_api.domain.insight.measures.copy_records import add_places, copy_answers, copy_replies
from crm_api.domain.insight.measures.dimensions import PLACES, Bucket, Dimension
from crm_api.domain.insight.measures.figure_request import FigureRequest, compile_records
from crm_api.domain.insight.measures.figures import compute_figures
from crm_api.domain.insight.measures.records import RecordRequest, list_records
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.insight.measures.update_sums import update_place_sums
from crm_api.platform.database import UnitOfWorkFactory

REPLY = MEASURES["time_to_reply"]
ANSWER = MEASURES["time_to_answer"]
REQUESTS = (
    *(FigureRequest(measure=REPLY, by=by) for by in (None, *PLACES, Dimension.CAMPAIGN)),
    *(FigureRequest(measure=ANSWER, by=by) for by in PLACES),
    FigureRequest(measure=REPLY, by=Dimension.ZIP, step=1),
    FigureRequest(measure=REPLY, by=Dimension.CITY, bucket=Bucket.WEEK, zone="Asia/Kolkata"),
    FigureRequest(measure=REPLY, by=Dimension.ZIP, since=NOW - timedelta(days=40, minutes=7)),
    FigureRequest(
        measure=REPLY,
        by=Dimension.ZIP,
        since=NOW - timedelta(days=50),
        until=NOW - timedelta(days=9, minutes=3),
    ),
)
COUNTS = text("""
    SELECT (SELECT count(*) FROM insight_reply) + (SELECT count(*) FROM insight_answer) AS stored,
           (SELECT count(*) FROM insight_reply k WHERE NOT k.is_placed)
               + (SELECT count(*) FROM insight_answer k WHERE NOT k.is_placed) AS unplaced,
           (SELECT count(*) FROM insight_reply_change) AS changed
""")
A_MESSAGE = """
    INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key, status,
        due_at, sent_at, replied_at, created_at, updated_at)
    SELECT uuid_v7(), m.campaign_id, 0, uuid_v7(), '+1339555' || lpad(row_number() OVER ()::text,
           4, '0'), m.zone_key, 'sent', m.due_at, m.sent_at, m.sent_at + interval '7 minutes',
           now(), now()
    FROM campaign_membership m WHERE m.sent_at IS NOT NULL
"""
CHANGES = (
    A_MESSAGE,
    "UPDATE campaign_membership SET replied_at = replied_at - interval '9 seconds'",
    "UPDATE campaign_membership SET replied_at = sent_at + interval '3 hours' WHERE step = 0",
    "UPDATE campaign_membership SET replied_at = NULL WHERE variant = 0",
    "UPDATE campaign_membership SET replied_at = sent_at - interval '1 second'",
    (
        "UPDATE campaign_membership SET sent_at = sent_at - interval '90 minutes', "
        "due_at = due_at - interval '90 minutes'"
    ),
    "UPDATE campaign_membership SET sent_at = now(), replied_at = now() + interval '1 minute'",
    "UPDATE campaign_membership SET sent_at = NULL",
    "UPDATE campaign_membership SET status = 'failed' WHERE right(id::text, 1) > '7'",
    "UPDATE campaign_membership SET status = 'delivered' WHERE status = 'failed'",
    "UPDATE campaign_membership SET step = step + 2",
    "UPDATE campaign_membership SET contact_id = uuid_v7()",
    "DELETE FROM campaign_membership WHERE step = 0",
    "DELETE FROM campaign_membership WHERE right(id::text, 1) > '7'",
    *MOVES,
    (
        "UPDATE contact SET merged_into = (SELECT min(id::text)::uuid FROM contact) "
        "WHERE right(id::text, 1) > '7' AND id::text <> (SELECT min(id::text) FROM contact)"
    ),
)


async def update(session: AsyncSession, new_uow: UnitOfWorkFactory) -> None:
    """Run the updating jobs in small steps; check that the stored rows equal the records."""
    await session.commit()
    for _ in range(1000):
        is_more = False
        async with new_uow() as uow:
            is_more |= await update_place_sums(uow, most=40)
        async with new_uow() as uow:
            is_more |= await copy_replies(uow, most=10, most_changes=7)
        async with new_uow() as uow:
            is_more |= await copy_answers(uow, most=10, most_changes=7)
        async with new_uow() as uow:
            is_more |= await add_places(uow, most=9)
        if not is_more:
            break
    for measure, table in ((REPLY, "insight_reply"), (ANSWER, "insight_answer")):
        assert await differences(session, FigureRequest(measure=measure), table) == []
        for by in PLACES:
            request = FigureRequest(measure=measure, by=by)
            assert await differences(session, request, table, f"k.{by}") == []
    counts = (await session.execute(COUNTS)).one()
    assert (counts.unplaced, counts.changed) == (0, 0)


async def differences(
    session: AsyncSession, request: FigureRequest, table: str, key: str = "NULL"
) -> list[object]:
    """Return the differences between the stored rows and the records that must be stored.

    All records from before the instant ``until`` of the table must be stored.
    """
    compiled = compile_records(request)
    found = await session.execute(
        text(f"""
            WITH due AS (
                SELECT x.id, x.contact_id, x.at, CAST(x.amount * 1000000 AS bigint) AS waited, x.key
                FROM ({compiled.relation}) x
                WHERE x.at < (SELECT u.until FROM {table}_until u)
            ), stored AS (
                SELECT k.id, k.contact_id, k.at, k.waited, CAST({key} AS text) AS key
                FROM {table} k
            )
            (SELECT * FROM due EXCEPT SELECT * FROM stored)
            UNION ALL (SELECT * FROM stored EXCEPT SELECT * FROM due)
        """),
        compiled.values,
    )
    return list(found.all())


async def check_figures(session: AsyncSession) -> None:
    for request in REQUESTS:
        await check_rows(session, request)


@pytest.mark.parametrize("change", CHANGES)
async def test_figure_is_its_rows_after_every_write(
    session: AsyncSession, new_uow: UnitOfWorkFactory, change: str
) -> None:
    history = History(session, seed=SEED)
    await history.write(people=90, messages=200, outcomes=5)
    await check_figures(session)
    await update(session, new_uow)
    assert (await session.execute(COUNTS)).one().stored > 10
    await check_figures(session)

    await session.execute(text(change))

    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)


async def test_figure_is_its_rows_while_people_are_merged_and_erased(
    session: AsyncSession, new_uow: UnitOfWorkFactory, client: httpx.AsyncClient
) -> None:
    history = History(session, seed=SEED)
    await history.write(people=90, messages=300, outcomes=5)
    await update(session, new_uow)

    await history.merge_and_erase(client, count=6)

    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)


async def test_removed_contact_has_no_place(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    history = History(session, seed=SEED)
    await history.write(people=60, messages=200, outcomes=5)
    await update(session, new_uow)

    await session.execute(text("DELETE FROM property_contact"))
    await session.execute(text("DELETE FROM contact WHERE right(id::text, 1) > '7'"))

    await check_figures(session)
    await update(session, new_uow)
    await check_figures(session)


async def test_reply_that_changes_soon_after_it_was_stored_is_noted(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    history = History(session, seed=SEED)
    await history.write(people=60, messages=200, outcomes=5)
    sent = "now() - interval '75 hours 10 minutes'"
    await session.execute(text(f"UPDATE campaign_membership SET sent_at = {sent}"))
    await session.execute(
        text("UPDATE campaign_membership SET replied_at = sent_at + interval '9 minutes'")
    )
    await update(session, new_uow)
    assert await session.scalar(text("SELECT count(*) FROM insight_reply")) > 0

    await session.execute(
        text("UPDATE campaign_membership SET replied_at = replied_at - interval '2 minutes'")
    )

    await check_figures(session)


async def test_young_messages_are_counted_as_unripe(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    history = History(session, seed=SEED)
    await history.write(people=90, messages=300, outcomes=5)
    await update(session, new_uow)
    request = FigureRequest(measure=REPLY, by=Dimension.ZIP)
    as_of = NOW - timedelta(days=20)

    found = await compute_figures(session, request, now=as_of)

    page = await list_records(
        session, RecordRequest(request=request), cursor=None, limit=EVERYTHING
    )
    young = [one for one in page.data if one.at > as_of - timedelta(hours=72)]
    assert 0 < len(young) < len(page.data)
    assert found.total.unripe == sum(one.unripe for one in found.rows) == len(young)


async def test_nothing_is_placed_while_many_moves_wait(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await made_history(session)
    async with new_uow() as uow:
        await copy_answers(uow)
    moved = await session.execute(text(MOVES[0]))
    await session.commit()

    async with new_uow() as uow:
        is_more = await add_places(uow, most_moves=moved.rowcount - 1)  # type: ignore[attr-defined]

    counts = (await session.execute(COUNTS)).one()
    assert not is_more
    assert counts.unplaced == counts.stored > 0
    async with new_uow() as uow:
        assert await add_places(uow, most_moves=moved.rowcount)  # type: ignore[attr-defined]
    # Until the job has moved the stored sums, people are counted at their former place.
    await check_figures(session)


async def test_move_that_the_release_before_takes_clears_the_stored_place(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await made_history(session)
    await update(session, new_uow)
    await session.execute(text(MOVES[0]))

    await session.execute(text("DELETE FROM insight_person_move"))

    assert (await session.execute(COUNTS)).one().unplaced > 0
    await check_figures(session)


async def test_reply_to_a_young_message_notes_no_change(session: AsyncSession) -> None:
    history = History(session, seed=SEED)
    await history.write(people=60, messages=200, outcomes=5)
    await session.execute(
        text(
            "UPDATE campaign_membership SET status = 'sent', replied_at = NULL, "
            "sent_at = now() - interval '72 hours'"
        )
    )
    before = (await session.execute(COUNTS)).one().changed

    await session.execute(text("UPDATE campaign_membership SET replied_at = now()"))
    await session.execute(text("UPDATE campaign_membership SET status = 'delivered'"))

    assert (await session.execute(COUNTS)).one().changed == before
