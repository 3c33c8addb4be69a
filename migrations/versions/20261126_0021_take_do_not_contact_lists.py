"""Add uploads of do-not-contact lists."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0021"
down_revision: str | None = "20261126_0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
COUNTS = (
    *("rows_processed", "numbers_read", "invalid", "duplicates_in_file", "already_suppressed"),
    *("newly_suppressed", "contacts_matched", "texts_withdrawn", "texts_sent_lately"),
)


def upgrade() -> None:
    op.create_table(
        "do_not_contact_upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("byte_size", sa.BigInteger(), nullable=False),
        sa.Column("columns", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in COUNTS
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("started_at", INSTANT, nullable=True),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_do_not_contact_upload_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_do_not_contact_upload")),
    )
    op.create_index(
        "idx_do_not_contact_upload_created", "do_not_contact_upload", ["created_at", "id"]
    )
    op.create_index(
        "idx_do_not_contact_upload_waiting",
        "do_not_contact_upload",
        ["updated_at", "id"],
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_table(
        "do_not_contact_upload_error",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("column", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["do_not_contact_upload.id"],
            name=op.f("fk_do_not_contact_upload_error_upload_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_do_not_contact_upload_error")),
    )
    op.create_index(
        "idx_do_not_contact_upload_error_upload",
        "do_not_contact_upload_error",
        ["upload_id", "id"],
    )


def downgrade() -> None:
    op.drop_table("do_not_contact_upload_error")
    op.drop_table("do_not_contact_upload")
