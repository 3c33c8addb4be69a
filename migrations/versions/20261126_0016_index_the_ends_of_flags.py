"""Index the times at which flags expire."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261126_0016"
down_revision: str | None = "20261126_0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # If an earlier build was interrupted, it left an invalid index. Drop this index first.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_contact_flag_expires")
        op.create_index(
            "idx_contact_flag_expires",
            "contact_flag",
            ["expires_at"],
            postgresql_where="expires_at IS NOT NULL",
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index("idx_contact_flag_expires", table_name="contact_flag")
