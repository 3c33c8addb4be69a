"""Add segments, and an index of conversations without a contact by phone number.

A segment is a stored filter of contacts.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "20261126_0029"
down_revision: str | None = "20261126_0028"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "segment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filter", JSONB(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
        sa.UniqueConstraint("name", name=op.f("uq_segment_name")),
    )
    op.create_index("idx_segment_created", "segment", ["created_at", "id"])
    op.create_index(
        "idx_conversation_nobody",
        "conversation",
        ["phone"],
        postgresql_where=sa.text("contact_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("idx_conversation_nobody", "conversation")
    op.drop_table("segment")
