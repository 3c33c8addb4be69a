"""Index the received messages and calls of each contact, for filters by reply and reply class.

First the index of the parent table is defined, which reads no row. Then the index of each monthly
partition is built concurrently.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0096"
down_revision: str | None = "20261129_0095"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "idx_activity_heard"
DEFINITION = (
    "(contact_id, occurred_at, id) INCLUDE (kind, reply_class) WHERE direction = 'incoming'"
)
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
        op.execute(f"CREATE INDEX IF NOT EXISTS {NAME} ON ONLY activity {DEFINITION}")
        months = op.get_bind().execute(sa.text(UNINDEXED), {"index": NAME}).scalars().all()
        for month in months:
            own = f"{NAME}_{month}"
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {own}")
            op.execute(f"CREATE INDEX CONCURRENTLY {own} ON {month} {DEFINITION}")
            op.execute(f"ALTER INDEX {NAME} ATTACH PARTITION {own}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX IF EXISTS {NAME}")
