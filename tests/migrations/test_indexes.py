"""Each hot query, as the code itself runs it, takes the index that was made for it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.migrations.filling import fill
from tests.migrations.hot import Hot
from tests.migrations.hot_accounts import ACCOUNTS
from tests.migrations.hot_audit import AUDIT
from tests.migrations.hot_campaigns import CAMPAIGNS, OPERATIONS
from tests.migrations.hot_consent import ERASURES, EXAMPLES, UPLOADS
from tests.migrations.hot_endpoints import ENDPOINTS
from tests.migrations.hot_events import RECEIVED
from tests.migrations.hot_media import MEDIA
from tests.migrations.hot_merging import MERGING
from tests.migrations.hot_notes import NOTES, OF_USERS, TASKS
from tests.migrations.hot_people import CONTACTS, IMPORTS, REQUESTS
from tests.migrations.hot_phones import PHONES
from tests.migrations.hot_properties import PROPERTIES
from tests.migrations.hot_reconciliation import RECONCILIATION
from tests.migrations.hot_segments import SEGMENTS
from tests.migrations.hot_sends import SENDS
from tests.migrations.hot_watchdog import WATCHDOG
from tests.migrations.hot_webhooks import CHECKS
from tests.migrations.support import connected_engine, generic_plan_of, own_database, plan_of

from crm_api.platform.migration_runner import upgrade

HOT = [
    *CONTACTS,
    *IMPORTS,
    *REQUESTS,
    *UPLOADS,
    *ACCOUNTS,
    *AUDIT,
    *ERASURES,
    *EXAMPLES,
    *CAMPAIGNS,
    *SEGMENTS,
    *SENDS,
    *RECEIVED,
    *ENDPOINTS,
    *WATCHDOG,
    *MEDIA,
    *MERGING,
    *NOTES,
    *TASKS,
    *OF_USERS,
    *OPERATIONS,
    *PHONES,
    *PROPERTIES,
    *RECONCILIATION,
    *CHECKS,
]


@pytest_asyncio.fixture(scope="module")
async def filled(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """A migrated database of its own with tens of thousands of rows."""
    async with own_database(engine, "crm_filled") as url:
        await upgrade(url)
        async with connected_engine(url) as filled:
            await fill(filled)
            yield filled


@pytest.mark.parametrize("hot", HOT, ids=[hot.name for hot in HOT])
async def test_hot_query_uses_its_index(filled: AsyncEngine, hot: Hot) -> None:
    plan = await plan_of(filled, hot.call)

    assert not hot.missing(plan)
    assert not hot.read_whole(plan)


@pytest.mark.parametrize(
    "hot", [hot for hot in HOT if hot.is_generic], ids=[hot.name for hot in HOT if hot.is_generic]
)
async def test_hot_query_uses_its_index_without_known_values(filled: AsyncEngine, hot: Hot) -> None:
    plan = await generic_plan_of(filled, hot.call)

    assert not hot.missing(plan)
    assert not hot.read_whole(plan)


@pytest_asyncio.fixture(scope="module")
async def unknown(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """The same database without statistics, as right after a bulk load."""
    async with own_database(engine, "crm_unknown") as url:
        await upgrade(url)
        async with connected_engine(url) as unknown:
            await fill(unknown, with_statistics=False)
            yield unknown


@pytest.mark.parametrize("hot", SENDS, ids=[hot.name for hot in SENDS])
async def test_statement_of_a_send_reads_no_whole_table_without_statistics(
    unknown: AsyncEngine, hot: Hot
) -> None:
    plan = await plan_of(unknown, hot.call)
    generic = await generic_plan_of(unknown, hot.call)

    assert not hot.read_whole(plan)
    assert not hot.read_whole(generic)
