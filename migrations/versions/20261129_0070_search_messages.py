"""Index all messages by time, and the words of the messages that people wrote.

The index of words has no campaign messages. They would make sending slower, and most of them are
equal. The indexes are built while the service runs. First the index of the parent table is defined,
which reads no row. Then the index of each monthly partition is built concurrently.

`idx_activity_newest` replaces `idx_activity_message`, which had only the messages with an id of the
provider. Queries of the previous release use the new index too.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0070"
down_revision: str | None = "20261129_0069"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WRITTEN = "kind = 'message' AND origin IN ('manual', 'provider')"
INDEXES = {
    "idx_activity_newest": "(occurred_at, id) WHERE kind = 'message'",
    "idx_activity_written": f"(occurred_at, id) WHERE {WRITTEN}",
    "idx_activity_words": (
        "USING gin ((' ' || search_fold(body)) gin_trgm_ops) "
        f"WITH (gin_pending_list_limit = 512) WHERE {WRITTEN}"
    ),
}
OLD = {
    "idx_activity_message": "(occurred_at, id) WHERE kind = 'message' AND openphone_id IS NOT NULL"
}
# Find the monthly partitions whose index is not attached yet. After an interruption, the next run
# of the migration continues with these partitions.
UNINDEXED = """
SELECT i.inhrelid::regclass::text AS month FROM pg_inherits i
WHERE i.inhparent = 'activity'::regclass AND NOT EXISTS (
    SELECT FROM pg_index x JOIN pg_inherits a ON a.inhrelid = x.indexrelid
    WHERE x.indrelid = i.inhrelid AND a.inhparent = CAST(:index AS regclass))
ORDER BY 1
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            build(name, definition)
        op.execute("DROP INDEX IF EXISTS idx_activity_message")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name, definition in OLD.items():
            build(name, definition)
        for name in INDEXES:
            op.execute(f"DROP INDEX IF EXISTS {name}")


def build(name: str, definition: str) -> None:
    op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY activity {definition}")
    months = op.get_bind().execute(sa.text(UNINDEXED), {"index": name}).scalars().all()
    for month in months:
        own = f"{name}_{month}"
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {own}")
        op.execute(f"CREATE INDEX CONCURRENTLY {own} ON {month} {definition}")
        op.execute(f"ALTER INDEX {name} ATTACH PARTITION {own}")
