"""The documentation page on indexes agrees with the database and with the tested queries."""

import re
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.migrations.test_indexes import HOT

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "indexes.md"
NAMED_ELSEWHERE = {
    "idx_activity_openphone_id",
    "idx_webhook_event_processed",
    "idx_campaign_membership_status",
    "idx_contact_phone_hash",
    "idx_contact_flag_type_phone",
}
"""Indexes whose names are also used outside the page."""
UNTESTED = {
    "idx_activity_openphone_id",
    "idx_refresh_token_session",
    "uq_campaign_series_id_occurrence_at",
    "uq_campaign_variant_campaign_id_name",
    "uq_custom_field_name",
    "uq_message_template_name",
    "uq_saved_reply_name",
    "uq_webhook_key_current",
}
"""Indexes without a tested query.

They serve queries that a person runs by hand, only enforce a constraint, or only serve a foreign
key.
"""


def indexes_on_page() -> list[str]:
    """Return the index names on the page, which are in the first column of its tables."""
    return re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


async def indexes_in_database(connection: AsyncConnection) -> set[str]:
    rows = await connection.scalars(
        text(
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' "
            "AND NOT (SELECT relispartition FROM pg_class WHERE oid = to_regclass(indexname))"
        )
    )
    return set(rows)


async def test_page_lists_exactly_the_indexes_of_the_database(connection: AsyncConnection) -> None:
    names = indexes_on_page()

    assert set(names) == await indexes_in_database(connection)
    assert len(names) == len(set(names))


async def test_indexes_whose_names_are_used_elsewhere_exist(connection: AsyncConnection) -> None:
    existing = await indexes_in_database(connection)

    assert existing >= NAMED_ELSEWHERE
    assert len([name for name in existing if name.startswith("idx_")]) >= 18


async def test_every_index_has_a_tested_query(connection: AsyncConnection) -> None:
    """Test that every index has a tested query, except the listed indexes.

    So an index cannot be added without a tested query.
    """
    tested = {name for hot in HOT for wanted in hot.indexes for name in wanted.split("|")}
    own = {
        name for name in await indexes_in_database(connection) if name.startswith(("idx_", "uq_"))
    }

    assert own - tested == UNTESTED
