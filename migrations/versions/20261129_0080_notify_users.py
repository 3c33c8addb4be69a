"""Store which notices users want, their devices for web push, and the notices to users.

A notice informs one user by mail or web push, for example about a reply.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0080"
down_revision: str | None = "20261129_0079"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    op.execute(
        "ALTER TABLE user_preferences "
        "ADD COLUMN IF NOT EXISTS notices jsonb DEFAULT '{}'::jsonb NOT NULL"
    )
    op.create_table(
        "push_subscription",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("p256dh", sa.Text(), nullable=False),
        sa.Column("auth", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["app_user.id"],
            name=op.f("fk_push_subscription_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_subscription")),
        if_not_exists=True,
    )
    op.create_index(
        "uq_push_subscription_endpoint",
        "push_subscription",
        ["endpoint"],
        unique=True,
        if_not_exists=True,
    )
    op.create_index(
        "idx_push_subscription_user",
        "push_subscription",
        ["user_id", "created_at", "id"],
        if_not_exists=True,
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("about", sa.DateTime(timezone=True), nullable=False),
        sa.Column("batch", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("channel IN ('mail', 'push')", name=op.f("ck_notice_channel")),
        sa.CheckConstraint("kind IN ('reply', 'mention', 'task')", name=op.f("ck_notice_kind")),
        sa.CheckConstraint(
            "outcome IN ('sent', 'obsolete', 'failed')", name=op.f("ck_notice_outcome")
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name=op.f("ck_notice_ended")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name=op.f("fk_notice_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint(
            "user_id", "channel", "kind", "subject_id", "about", name="uq_notice_subject"
        ),
        if_not_exists=True,
    )
    # A job finds notes by their age. Only the notes that mention a user are in the index.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_conversation_note_mentions")
        op.execute(
            "CREATE INDEX CONCURRENTLY idx_conversation_note_mentions "
            "ON conversation_note (created_at) WHERE mentions <> '{}'"
        )


def downgrade() -> None:
    op.drop_index("idx_conversation_note_mentions", table_name="conversation_note")
    op.drop_table("notice")
    op.drop_table("push_subscription")
    op.drop_column("user_preferences", "notices")
