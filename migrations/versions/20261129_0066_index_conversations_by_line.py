"""Replace the index of conversations by last activity with an index by line and last activity.

The list of conversations reads a page of each line. The old index contained the conversations of
all lines. With it, the list of a line with few conversations also read the conversations of the
other lines. Code of the previous release needs the old index. Until this code is replaced, it sorts
all conversations for each page.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0066"
down_revision: str | None = "20261129_0065"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OF_ALL, OF_LINE = "idx_conversation_last_activity", "idx_conversation_line"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # If an earlier build was interrupted, it left an invalid index. Drop this index first.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {OF_LINE}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {OF_LINE} "
            "ON conversation (line_id, last_activity_at DESC, id DESC)"
        )
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {OF_ALL}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {OF_ALL}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {OF_ALL} ON conversation (last_activity_at DESC, id DESC)"
        )
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {OF_LINE}")
