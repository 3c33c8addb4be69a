"""A rule about engagement in a segment uses the contact's engagement, on a random history."""

import os
from random import randrange
from typing import Any

import httpx
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.insight.engagement import read_engagement
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.segments.compiler import compile_filter
from crm_api.domain.people.segments.condition_builder import ConditionBuilder
from crm_api.domain.people.segments.engagement import grade_sql, score_sql
from crm_api.domain.people.segments.parser import read_filter
from crm_api.platform.database import UnitOfWorkFactory

SEED = int(os.environ.get("INSIGHT_SEED", randrange(10**6)))  # noqa: S311 - a test's
SOME = 120


async def test_rules_compare_the_engagement_of_the_contact(
    session: AsyncSession, client: httpx.AsyncClient, new_uow: UnitOfWorkFactory
) -> None:
    print(f"INSIGHT_SEED={SEED}")  # noqa: T201 - repeats the run
    history = History(session, seed=SEED)
    await history.write(people=300, messages=1_200, outcomes=150)
    for one in history.chance.sample(history.contacts, 20):
        session.add(ContactFlag(phone=one["phone"], flag_type="opted_out", created_at=NOW))
    await session.commit()
    await history.merge_and_erase(client, count=20)
    living = select(Contact.id).where(Contact.deleted_at.is_(None)).order_by(Contact.phone)
    ids = list(await session.scalars(living))
    wanted = history.chance.sample(ids, SOME)

    known = {}
    for contact_id in wanted:
        async with new_uow() as uow:
            known[contact_id] = await read_engagement(uow, contact_id=contact_id, now=NOW)

    for by_person in (False, True):
        builder = ConditionBuilder(now=NOW, prefix="value", by_person=by_person)
        columns = f"{score_sql(builder)}, {grade_sql(builder)}"
        statement = text(f"SELECT c.id, {columns} FROM contact c WHERE c.id = ANY(:ids)")
        rows = await session.execute(statement, {**builder.values, "ids": wanted})
        assert {row[0]: (row[1], row[2]) for row in rows} == {
            one: (found.score, found.grade) for one, found in known.items()
        }
    assert len({found.score for found in known.values()}) > 10
    assert {found.grade for found in known.values()} >= {"C", "D", "E"}

    async def members(filter_: dict[str, Any]) -> set[Any]:
        condition = compile_filter(read_filter(filter_), now=NOW)
        statement = f"SELECT c.id FROM contact c WHERE c.id = ANY(:ids) AND {condition.sql}"
        found = await session.scalars(text(statement), {**condition.values, "ids": wanted})
        return set(found)

    engaged = {"field": "engagement_score", "op": "gte", "value": 40}
    best = {"field": "engagement_grade", "op": "in", "value": ["A", "B", "C"]}
    expected = {one for one, found in known.items() if found.score >= 40}
    assert await members(engaged) == await members(best) == expected
