"""Let users merge contacts.

A merged duplicate keeps its row. The new column `merged_into` has the id of the contact that it was
merged into. `contact_merge` stores each merge, with the data that an undo needs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261126_0024"
down_revision: str | None = "20261126_0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    # The column and the index are created first, while the service runs. If an earlier build of the
    # index was interrupted, it left an invalid index. Drop this index.
    op.execute("ALTER TABLE contact ADD COLUMN IF NOT EXISTS merged_into uuid")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_contact_merged_into")
        op.create_index(
            "idx_contact_merged_into",
            "contact",
            ["merged_into"],
            postgresql_where=sa.text("merged_into IS NOT NULL"),
            postgresql_concurrently=True,
        )
    op.create_table(
        "contact_merge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("primary_id", sa.Uuid(), nullable=False),
        sa.Column("duplicate_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("snapshot", postgresql.JSONB(), nullable=True),
        sa.Column("merged_by", sa.Text(), nullable=False),
        sa.Column("merged_at", INSTANT, nullable=False),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.Column("undone_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "undone_at IS NULL OR snapshot IS NULL", name=op.f("ck_contact_merge_snapshot")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_merge")),
    )
    op.create_index("idx_contact_merge_merged", "contact_merge", ["merged_at", "id"])
    op.create_index("idx_contact_merge_primary", "contact_merge", ["primary_id"])
    op.create_index(
        "idx_contact_merge_duplicates", "contact_merge", ["duplicate_ids"], postgresql_using="gin"
    )


def downgrade() -> None:
    op.drop_index("idx_contact_merged_into", table_name="contact")
    op.drop_table("contact_merge")
    op.drop_column("contact", "merged_into")
