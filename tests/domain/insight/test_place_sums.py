"""The sums by place give the same figures as the records, while messages and people change.

A place is the ZIP, city and source of a person.
"""

from datetime import timedelta
from random import Random

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.test_hour_sums import AGO, CHANGES, SUMMED, check_rows, made_history

from crm_api.domain.insight.measures.dimensions import Dimension
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.models import PlaceDimension
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.domain.insight.measures.update_sums import update_place_sums
from crm_api.platform.database import UnitOfWorkFactory

PLACES = [Dimension(one.value) for one in PlaceDimension]
DIFFERENCES = text("""
    WITH placed AS (
        SELECT m.step = 0 AS is_first, coalesce(m.sent_at, m.due_at) AS at, m.contact_id,
               (m.status <> 'failed')::integer AS sent, (m.status = 'failed')::integer AS failed,
               (m.status <> 'failed' AND m.replied_at IS NOT NULL)::integer AS replied,
               (m.status <> 'failed' AND m.replied_at IS NOT NULL AND m.is_interested)::integer
                   AS interested, 0 AS segments
        FROM campaign_membership m WHERE m.status IN ('sent', 'delivered', 'failed')
        UNION ALL
        SELECT false, a.accepted_at, m.contact_id, 0, 0, 0, 0, coalesce(a.segments, 1)
        FROM send_attempt a LEFT JOIN campaign_membership m ON m.id = a.membership_id
        WHERE a.accepted_at IS NOT NULL
    )
    SELECT x.dimension, x.key, x.grain, x.at, x.is_first FROM (
        SELECT t.dimension, t.key, t.grain, t.at, t.is_first, t.sent, t.failed, t.replied,
               t.interested, t.segments
        FROM insight_person_tally t
        UNION ALL
        SELECT d.dimension, d.key, g.grain, g.at, r.is_first, -r.sent, -r.failed, -r.replied,
               -r.interested, -r.segments
        FROM placed r
        LEFT JOIN contact e ON e.id = r.contact_id
        LEFT JOIN contact p ON p.id = coalesce(e.merged_into, e.id)
        CROSS JOIN LATERAL (VALUES ('zip', left(p.postal_code, 5)), ('city', p.city),
            ('source', p.source)) AS d (dimension, key)
        CROSS JOIN LATERAL (VALUES ('day', date_trunc('day', r.at, 'UTC')),
            ('month', date_trunc('month', r.at, 'UTC'))) AS g (grain, at)
        WHERE r.at < (SELECT u.until FROM insight_person_until u)
    ) x
    GROUP BY 1, 2, 3, 4, 5
    HAVING sum(sent) <> 0 OR sum(failed) <> 0 OR sum(replied) <> 0 OR sum(interested) <> 0
        OR sum(segments) <> 0
""")
WAITING = text("""
    SELECT (SELECT count(*) FROM insight_person_change) + (SELECT count(*) FROM insight_person_move)
""")
MOVES = (
    "UPDATE contact SET postal_code = '01001', city = 'Agawam' WHERE postal_code LIKE '02186%'",
    "UPDATE contact SET postal_code = NULL, source = 'form' WHERE city = 'Agawam'",
)
MOVE_ONE = text("""
    UPDATE contact SET postal_code = '01060', city = 'Northampton' WHERE id = CAST(:id AS uuid)
""")


async def update(session: AsyncSession, new_uow: UnitOfWorkFactory, *, most: int = 150) -> None:
    await session.commit()
    for _ in range(1000):
        async with new_uow() as uow:
            if not await update_place_sums(uow, most=most):
                break
    assert await session.scalar(WAITING) == 0
    assert (await session.execute(DIFFERENCES)).all() == []


PERIODS = (
    (None, None),
    (NOW - AGO["a month ago"], NOW - AGO["two days ago"]),
    (NOW - timedelta(days=70), NOW - AGO["two days ago"]),
)


async def check_figures(session: AsyncSession, chance: Random) -> None:
    for name in SUMMED:
        since, until = chance.choice(PERIODS)
        request = FigureRequest(
            measure=MEASURES[name], by=chance.choice(PLACES), since=since, until=until
        )
        await check_rows(session, request)


@pytest.mark.parametrize("change", [*CHANGES, *MOVES])
async def test_figure_is_its_rows_after_every_write(
    session: AsyncSession, new_uow: UnitOfWorkFactory, change: str
) -> None:
    history = await made_history(session, messages=200)
    await update(session, new_uow)

    await session.execute(text(change))
    await check_figures(session, history.chance)
    await update(session, new_uow)

    await check_figures(session, history.chance)


async def test_figure_is_its_rows_while_people_are_merged_and_erased(
    session: AsyncSession, new_uow: UnitOfWorkFactory, client: httpx.AsyncClient
) -> None:
    history = await made_history(session, messages=300)
    await update(session, new_uow)
    first, second = (str(one["id"]) for one in history.chance.sample(history.contacts, 2))

    await history.merge_and_erase(client, count=3)
    await session.execute(text(MOVES[0]))
    merged = await client.post(
        "/v1/contacts/merge", json={"primary_id": first, "duplicate_ids": [second]}
    )
    await session.execute(text(MOVES[1]))
    await check_figures(session, history.chance)
    await update(session, new_uow)
    if merged.is_success:
        # After the merge, the records of the duplicate belong to the place (ZIP, city and source)
        # of the primary contact. This statement changes the place of the primary contact. So the
        # figures must include the records of both contacts at the new place.
        await session.execute(MOVE_ONE, {"id": first})
        await check_figures(session, history.chance)
        await update(session, new_uow)
        undone = await client.post(f"/v1/contact-merges/{merged.json()['merge_id']}/undo")
        assert undone.is_success, undone.text
    await check_figures(session, history.chance)
    await update(session, new_uow)

    await check_figures(session, history.chance)
