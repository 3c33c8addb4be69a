"""Index what figures by place read: where people are, and the kept sums of months.

Statements that name the condition on contacts, which is always true, read their index; others keep
to the primary key.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0111"
down_revision: str | None = "20261129_0110"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEXES = {
    "idx_contact_person": "contact (id) INCLUDE (merged_into, postal_code, city, source) "
    "WHERE created_at > '-infinity'",
    "idx_insight_person_tally_month": "insight_person_tally (dimension, at) INCLUDE (is_first, "
    "key, first_at, sent, delivered, failed, replied, interested, opted_out, accepted, segments) "
    "WHERE grain = 'month'",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            # An interrupted build leaves an index that is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
