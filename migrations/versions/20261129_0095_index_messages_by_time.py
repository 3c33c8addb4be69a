"""Index messages by time, replied recipients, replies with interest, and current campaigns.

These indexes are for the figures of insight. If the sums of an hour are not final, a figure reads
the messages of this hour with the index by time. The other indexes are small, because they are
partial: few people reply, and few campaigns are still current.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0095"
down_revision: str | None = "20261129_0094"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEXES = {
    "idx_campaign_current": "campaign (created_at, id) "
    "WHERE status IN ('running', 'scheduled', 'paused', 'blocked')",
    "idx_campaign_membership_at": "campaign_membership ((coalesce(sent_at, due_at)), id) "
    "WHERE status IN ('sent', 'delivered', 'failed')",
    "idx_campaign_membership_replied": "campaign_membership (campaign_id, contact_id) "
    "INCLUDE (step, variant, status, sent_at, due_at, replied_at, id) "
    "WHERE replied_at IS NOT NULL",
}
INTERESTED = "idx_activity_interested"
DEFINITION = (
    "(campaign_id, contact_id) "
    "WHERE kind = 'message' AND direction = 'incoming' AND reply_class = 'interested'"
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
        for name, definition in INDEXES.items():
            # If an earlier build was interrupted, it left an invalid index. Drop this index first.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        op.execute(f"CREATE INDEX IF NOT EXISTS {INTERESTED} ON ONLY activity {DEFINITION}")
        months = op.get_bind().execute(sa.text(UNINDEXED), {"index": INTERESTED}).scalars().all()
        for month in months:
            own = f"{INTERESTED}_{month}"
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {own}")
            op.execute(f"CREATE INDEX CONCURRENTLY {own} ON {month} {DEFINITION}")
            op.execute(f"ALTER INDEX {INTERESTED} ATTACH PARTITION {own}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX IF EXISTS {INTERESTED}")
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
