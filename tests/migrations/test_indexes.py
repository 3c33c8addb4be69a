"""Each hot query uses the indexes that were created for it, when the code runs it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from tests.conftest import NOW
from tests.migrations.filling import RUNNING, collect_statistics, fill
from tests.migrations.hot import Hot
from tests.migrations.hot_accounts import ACCOUNTS
from tests.migrations.hot_audit import AUDIT
from tests.migrations.hot_campaigns import CAMPAIGNS, OPERATIONS
from tests.migrations.hot_consent import ERASURES, EXAMPLES, UPLOADS
from tests.migrations.hot_endpoints import ENDPOINTS
from tests.migrations.hot_events import RECEIVED
from tests.migrations.hot_inbox import INBOX
from tests.migrations.hot_media import MEDIA
from tests.migrations.hot_merging import MERGING
from tests.migrations.hot_notes import NOTES, NOTICES, OF_USERS, TASKS
from tests.migrations.hot_office import OFFICE
from tests.migrations.hot_outcomes import OUTCOMES
from tests.migrations.hot_people import CONTACTS, IMPORTS, REQUESTS
from tests.migrations.hot_phones import PHONES
from tests.migrations.hot_properties import PROPERTIES
from tests.migrations.hot_reconciliation import RECONCILIATION
from tests.migrations.hot_sales import APPOINTMENTS, BILLS, CALENDARS, REMINDERS
from tests.migrations.hot_segments import SEGMENTS
from tests.migrations.hot_sends import SENDS
from tests.migrations.hot_watchdog import WATCHDOG
from tests.migrations.hot_webhooks import CHECKS
from tests.migrations.support import (
    REMOVE_STATISTICS,
    connected_engine,
    generic_plan_of,
    own_database,
    plan_of,
)

from crm_api.domain.campaigns.forecast import recipients as forecast_recipients
from crm_api.platform.migration_runner import upgrade

PENDING = text(
    "SELECT count(*) FROM campaign_membership "
    "WHERE campaign_id = :campaign_id AND status = 'pending'"
)
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
    *INBOX,
    *ENDPOINTS,
    *WATCHDOG,
    *MEDIA,
    *MERGING,
    *APPOINTMENTS,
    *BILLS,
    *REMINDERS,
    *CALENDARS,
    *NOTES,
    *TASKS,
    *NOTICES,
    *OF_USERS,
    *OFFICE,
    *OPERATIONS,
    *OUTCOMES,
    *PHONES,
    *PROPERTIES,
    *RECONCILIATION,
    *CHECKS,
]


pytestmark = pytest.mark.timeout(240)
"""A long time limit.

Tests with such a limit run first, and in one pytest worker. Otherwise each worker would fill a
database.
"""


@pytest_asyncio.fixture(scope="module")
async def rows(engine: AsyncEngine) -> AsyncIterator[str]:
    """Yield the name of a separate migrated database with tens of thousands of rows."""
    name = "crm_rows"
    async with own_database(engine, name) as url:
        await upgrade(url)
        async with connected_engine(url) as connected:
            await fill(connected)
        yield name


@pytest_asyncio.fixture(scope="module")
async def filled(engine: AsyncEngine, rows: str) -> AsyncIterator[AsyncEngine]:
    """Yield a copy of the filled database, with statistics."""
    async with (
        own_database(engine, "crm_filled", template=rows) as url,
        connected_engine(url) as filled,
    ):
        await collect_statistics(filled)
        # With fast updates, the changes that a test rolls back stay in the pending list of the
        # index. If this list is long, the planner no longer chooses the index.
        async with filled.begin() as connection:
            await connection.execute(text("ALTER INDEX idx_contact_search SET (fastupdate=off)"))
        yield filled


@pytest.mark.parametrize("hot", HOT, ids=[hot.name for hot in HOT])
async def test_hot_query_uses_its_index(filled: AsyncEngine, hot: Hot) -> None:
    plan = await plan_of(filled, hot.call)

    assert not hot.missing(plan)
    assert not hot.read_whole(plan)


@pytest.mark.parametrize(
    "hot", [hot for hot in HOT if hot.is_generic], ids=[hot.name for hot in HOT if hot.is_generic]
)
async def test_hot_query_uses_its_index_in_a_generic_plan(filled: AsyncEngine, hot: Hot) -> None:
    plan = await generic_plan_of(filled, hot.call)

    assert not hot.missing(plan)
    assert not hot.read_whole(plan)


@pytest_asyncio.fixture(scope="module")
async def unknown(engine: AsyncEngine, rows: str) -> AsyncIterator[AsyncEngine]:
    """Yield a copy of the filled database without statistics, as immediately after a bulk load."""
    async with (
        own_database(engine, "crm_unknown", template=rows) as url,
        connected_engine(url) as unknown,
    ):
        yield unknown


@pytest.mark.parametrize("hot", SENDS, ids=[hot.name for hot in SENDS])
async def test_send_statement_reads_no_whole_table_without_statistics(
    unknown: AsyncEngine, hot: Hot
) -> None:
    plan = await plan_of(unknown, hot.call)
    generic = await generic_plan_of(unknown, hot.call)

    assert not hot.read_whole(plan)
    assert not hot.read_whole(generic)


IN_ORDER = {
    "contacts by -created_at, few match": "idx_contact_created",
    "contacts by name, few match": "idx_contact_name",
    "contacts by updated_at, few match": "idx_contact_updated",
    "contacts of a list": "pk_contact",
    "recipients of a variant": "uq_campaign_membership_campaign_id_step_contact_id",
    "recipients who replied": "idx_campaign_membership_answered",
    "recipients who opted out": "idx_campaign_membership_answered",
    "recipients skipped for a reason": "idx_campaign_membership_skipped",
    "recipients with a failure": "idx_campaign_membership_error",
    "recipients that a user must settle": "idx_campaign_membership_campaign",
    "recipients by a common word": "uq_campaign_membership_campaign_id_step_contact_id",
    "recent messages of a line, for a forecast": "idx_send_attempt_accepted",
    "conversations, last active first": "idx_conversation_state",
    "waiting conversations": "idx_conversation_state",
    "waiting conversations, the longest first": "idx_conversation_waiting",
    "unread conversations": "idx_conversation_state",
    "unread conversations, the longest first": "idx_conversation_waiting",
    "conversations with a flag": "idx_conversation_state",
    "waiting conversations with a flag, the longest first": "idx_conversation_waiting",
    "conversations of a user": "idx_conversation_assignee",
    "unassigned conversations": "idx_conversation_unassigned",
    "conversations about a campaign": "idx_conversation_campaign",
}
"""Pages that would be slow with a sort or a join, each with the index that gives their order.

The index is read only until the page is full.
"""


@pytest.mark.parametrize("name", IN_ORDER)
async def test_page_reads_only_its_rows_without_statistics(filled: AsyncEngine, name: str) -> None:
    [hot] = [hot for hot in HOT if hot.name == name]

    plan = await plan_of(filled, hot.call, without_statistics=True)

    assert IN_ORDER[name] in plan.in_order
    assert not hot.read_whole(plan)


async def test_search_reads_no_second_index_without_statistics(filled: AsyncEngine) -> None:
    [hot] = [hot for hot in HOT if hot.name == "contacts by two letters"]

    plan = await plan_of(filled, hot.call, without_statistics=True)

    assert "idx_contact_zone_key" not in plan.indexes


async def test_forecast_sample_is_small_without_statistics(
    filled: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast_recipients, "SAMPLED_PAGES", 100)
    async with async_sessionmaker(filled)() as session:
        everyone = await session.scalar(PENDING, {"campaign_id": RUNNING})
        for statement in REMOVE_STATISTICS:
            await session.execute(text(statement))
        found = await forecast_recipients.sample_groups(session, campaign_id=RUNNING, now=NOW)
        await session.rollback()

    assert 0 < sum(group.people for group in found) < everyone / 2


PERIOD = text("""
    EXPLAIN (FORMAT JSON) SELECT FROM campaign_membership m
    WHERE m.status IN ('sent', 'delivered', 'failed')
      AND coalesce(m.sent_at, m.due_at) >= CAST(:now AS timestamptz) - interval '30 days'
      AND coalesce(m.sent_at, m.due_at) < CAST(:now AS timestamptz) - interval '20 days'
""")
A_DAY = 144
"""Messages per day in the filled database."""


async def test_planner_estimates_the_number_of_messages_of_a_period(filled: AsyncEngine) -> None:
    async with filled.connect() as connection:
        (found,) = await connection.scalar(PERIOD, {"now": NOW})

    assert 5 * A_DAY < found["Plan"]["Plan Rows"] < 15 * A_DAY
