"""Store replies with a user's decision about them, so that the reader can be measured.

The reader is the code that reads replies and finds opt-outs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "20261128_0055"
down_revision: str | None = "20261128_0054"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "reply_example",
        sa.Column("activity_id", sa.Uuid(), nullable=False),
        sa.Column("phone_hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("is_sale", sa.Boolean(), nullable=False),
        sa.Column("read_as", sa.Text(), nullable=False),
        sa.Column("reading", JSONB(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("label IN ('stop', 'not_stop')", name=op.f("ck_reply_example_label")),
        sa.CheckConstraint(
            "decision IN ('opt_out', 'opt_in', 'hold', 'release')",
            name=op.f("ck_reply_example_decision"),
        ),
        sa.PrimaryKeyConstraint("activity_id", name=op.f("pk_reply_example")),
    )
    op.create_index("idx_reply_example_phone_hash", "reply_example", ["phone_hash"])


def downgrade() -> None:
    op.drop_table("reply_example")
