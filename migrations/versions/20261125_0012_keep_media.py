"""Store pictures and recordings, and the state of their downloads from the provider."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261125_0012"
down_revision: str | None = "20261125_0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "media",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_media_size_bytes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media")),
        sa.UniqueConstraint("sha256", name=op.f("uq_media_sha256")),
    )
    op.create_table(
        "media_fetch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", INSTANT, nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("media_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "kind IN ('picture', 'recording', 'voicemail', 'other')",
            name=op.f("ck_media_fetch_kind"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'stored', 'failed', 'dead', 'refused')",
            name=op.f("ck_media_fetch_status"),
        ),
        sa.CheckConstraint(
            "(status = 'stored') = (media_id IS NOT NULL)", name=op.f("ck_media_fetch_media_id")
        ),
        sa.ForeignKeyConstraint(["media_id"], ["media.id"], name=op.f("fk_media_fetch_media_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media_fetch")),
    )
    op.create_index(
        "uq_media_fetch_activity_id_url",
        "media_fetch",
        ["activity_id", sa.text("md5(url)")],
        unique=True,
    )
    op.create_index(
        "idx_media_fetch_due",
        "media_fetch",
        ["next_attempt_at", "id"],
        postgresql_where=sa.text("status IN ('pending', 'failed')"),
    )
    op.create_index("idx_media_fetch_created", "media_fetch", ["created_at", "id"])
    op.create_index("idx_media_fetch_status", "media_fetch", ["status", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("media_fetch")
    op.drop_table("media")
