"""Index the recipients who replied or opted out, were skipped, or whose message failed.

The list of recipients has filters for these recipients. A filter may match only a few of a million
recipients, and no other index finds them. The indexes are partial: they do not contain a recipient
whose message is sent and delivered. So sending writes none of them.
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
            # If an earlier build was interrupted, it left an invalid index. Drop this index first.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON campaign_membership {definition}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
