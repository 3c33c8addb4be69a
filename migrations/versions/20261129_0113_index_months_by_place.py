"""Index the stored sums of months by place (ZIP, city and source).

One table has the sums of days and of months. The index has only the sums of months.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0113"
down_revision: str | None = "20261129_0112"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "idx_insight_person_tally_month"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # If an earlier build was interrupted, it left an invalid index. Drop this index first.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {NAME} ON insight_person_tally (dimension, at) INCLUDE "
            "(is_first, key, first_at, sent, delivered, failed, replied, interested, opted_out, "
            "accepted, segments) WHERE grain = 'month'"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")
