"""Store erasures of persons.

Only a keyed hash of an erased number remains (`erased_number`). An erasure searches all tables in
the background. It deletes a file if no other message uses the file; the new index finds such
messages.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261126_0032"
down_revision: str | None = "20261126_0031"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "erased_number",
        sa.Column("phone_hash", sa.LargeBinary(), nullable=False),
        sa.Column("erased_at", INSTANT, nullable=False),
        sa.Column("lifted_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("phone_hash", name=op.f("pk_erased_number")),
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'sweeping'"), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column(
            "position",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("next_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.CheckConstraint("status IN ('sweeping', 'completed')", name=op.f("ck_erasure_status")),
        sa.CheckConstraint(
            "(status = 'sweeping') = (sealed IS NOT NULL)", name=op.f("ck_erasure_sealed")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
    )
    op.create_index("idx_erasure_created", "erasure", ["created_at", "id"])
    op.create_index(
        "idx_erasure_sweeping",
        "erasure",
        ["next_at", "id"],
        postgresql_where=sa.text("status = 'sweeping'"),
    )
    op.create_index(
        "idx_media_fetch_media",
        "media_fetch",
        ["media_id"],
        postgresql_where=sa.text("media_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "idx_media_fetch_media",
        table_name="media_fetch",
        postgresql_where=sa.text("media_id IS NOT NULL"),
    )
    op.drop_table("erasure")
    op.drop_table("erased_number")
