"""Send opt-out confirmations and responses to HELP before all other messages of the queue.

The new index has the queue in this order. It is built while the service runs. First the index of
the parent table is defined, which reads no row. Then the index of each monthly partition is built
concurrently. Code of the previous release uses `idx_activity_queued`, which remains.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261128_0047"
down_revision: str | None = "20261128_0046"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "idx_activity_queue"
COLUMNS = "((origin NOT IN ('confirmation', 'help')), send_after, id)"
WHERE = "status = 'queued' AND send_after IS NOT NULL"
# Find the monthly partitions whose index is not attached yet. After an interruption, the next run
# of the migration continues with these partitions.
UNINDEXED = f"""
SELECT i.inhrelid::regclass::text AS month FROM pg_inherits i
WHERE i.inhparent = 'activity'::regclass AND NOT EXISTS (
    SELECT FROM pg_index x JOIN pg_inherits a ON a.inhrelid = x.indexrelid
    WHERE x.indrelid = i.inhrelid AND a.inhparent = '{INDEX}'::regclass)
ORDER BY 1
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON ONLY activity {COLUMNS} WHERE {WHERE}")
        for month in op.get_bind().execute(sa.text(UNINDEXED)).scalars().all():
            name = f"{INDEX}_{month}"
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {month} {COLUMNS} WHERE {WHERE}")
            op.execute(f"ALTER INDEX {INDEX} ATTACH PARTITION {name}")


def downgrade() -> None:
    op.drop_index(INDEX, table_name="activity")
