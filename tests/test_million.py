"""The rows of the benchmark with a million people can be inserted into the current schema."""

from collections.abc import AsyncIterator

import pytest_asyncio
from benchmarks import million
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.migrations.support import connected_engine, own_database

from crm_api.platform.migration_runner import upgrade

PEOPLE = 2_000
COUNTS = text("""
    SELECT (SELECT count(*) FROM contact) AS people,
           (SELECT count(*) FROM activity) AS activities,
           (SELECT max(texts) FROM (SELECT count(*) FROM activity GROUP BY contact_id) c (texts))
               AS most_texts,
           (SELECT count(*) FROM contact_flag WHERE flag_type = 'opted_out') AS opted_out,
           (SELECT count(*) FROM consent_wording) AS opt_outs,
           (SELECT count(*) FROM contact WHERE last_name = 'Smith') AS most_frequent,
           (SELECT count(*) FROM contact_list_member) AS listed,
           (SELECT count(*) FROM campaign_membership WHERE replied_at IS NOT NULL) AS replied
""")


@pytest_asyncio.fixture
async def url(engine: AsyncEngine) -> AsyncIterator[str]:
    async with own_database(engine, "crm_million") as url:
        await upgrade(url)
        yield url


async def test_small_database_has_the_shares_of_the_large_one(url: str) -> None:
    await million.fill(url, people=PEOPLE)

    async with connected_engine(url) as engine, engine.connect() as connection:
        found = (await connection.execute(COUNTS)).one()
    assert found.people == PEOPLE
    assert 5_000 <= found.most_texts <= 5_100
    assert 4.5 <= (found.activities - found.most_texts) / PEOPLE <= 5.5
    assert 0.02 <= found.opted_out / PEOPLE <= 0.04
    assert found.opt_outs == found.opted_out
    assert 0.01 <= found.most_frequent / PEOPLE <= 0.04
    assert found.listed > PEOPLE // 2
    assert found.replied > 0
