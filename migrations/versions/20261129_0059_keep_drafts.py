"""Store drafts: unsent messages of users and API keys in conversations."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0059"
down_revision: str | None = "20261129_0058"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "conversation_draft",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("caller_id", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.id"],
            name=op.f("fk_conversation_draft_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", "caller_id", name=op.f("pk_conversation_draft")),
    )


def downgrade() -> None:
    op.drop_table("conversation_draft")
