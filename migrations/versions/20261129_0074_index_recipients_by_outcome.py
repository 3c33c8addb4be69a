"""Index the recipients who answered, were skipped or whose message failed.

The list of recipients filters by these. They may be a few of a million recipients, and no other
index finds them. The indexes are partial, so a message that is sent and delivered writes none of
them.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0074"
down_revision: str | None = "20261129_0073"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEXES = {
    "idx_campaign_membership_answered": "(campaign_id, step, contact_id) "
    "WHERE replied_at IS NOT NULL OR opted_out_at IS NOT NULL",
    "idx_campaign_membership_skipped": "(campaign_id, step, skip_reason, contact_id) "
    "WHERE skip_reason IS NOT NULL",
    "idx_campaign_membership_error": "(campaign_id, step, error_code, contact_id) "
    "WHERE error_code IS NOT NULL",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            # An interrupted build leaves an index that is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON campaign_membership {definition}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
