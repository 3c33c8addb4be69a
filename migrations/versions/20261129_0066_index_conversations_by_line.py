"""Index the conversations of each line by their last activity, instead of those of all lines.

The list of conversations reads a page of each line. With the index of all lines, the list of a line
with few conversations read those of the other lines too. Until it is replaced, code of the previous
release sorts all conversations for a page.
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
        # An interrupted build leaves an index that is not valid.
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
