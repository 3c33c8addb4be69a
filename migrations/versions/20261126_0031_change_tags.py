"""Store requests that change the tags of many contacts, and count the contacts with each tag."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261126_0031"
down_revision: str | None = "20261126_0030"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "tag_change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("add", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("remove", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("contact_ids", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("filter", postgresql.JSONB(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("position", sa.Uuid(), nullable=True),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in ("matched", "changed", "refused")
        ),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.CheckConstraint("status IN ('running', 'completed')", name=op.f("ck_tag_change_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag_change")),
    )
    op.create_index(
        "idx_tag_change_running",
        "tag_change",
        ["created_at", "id"],
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "tag_count",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("contacts", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("tag", name=op.f("pk_tag_count")),
    )


def downgrade() -> None:
    op.drop_table("tag_count")
    op.drop_table("tag_change")
