"""Store the rules that limit or pause a campaign, its A/B test, and why follow-ups ended.

A campaign pauses itself if its rate of opt-outs or failures is above the limit. `ended_by` says
what ended the follow-ups of a recipient.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261125_0004"
down_revision: str | None = "20261125_0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("start_grace_hours", sa.Integer(), server_default=sa.text("24"), nullable=False),
        sa.Column("frequency_cap", postgresql.JSONB(), nullable=True),
        sa.Column(
            "max_opt_out_rate", sa.Numeric(5, 4), server_default=sa.text("0.05"), nullable=True
        ),
        sa.Column(
            "max_failure_rate", sa.Numeric(5, 4), server_default=sa.text("0.25"), nullable=True
        ),
        sa.Column("ab_test", postgresql.JSONB(), nullable=True),
        sa.Column("paused_evidence", postgresql.JSONB(), nullable=True),
        sa.Column("watched_from", postgresql.JSONB(), nullable=True),
    ]


def upgrade() -> None:
    for column in columns():
        op.add_column("campaign", column)
    op.add_column("campaign_variant", sa.Column("stopped_at", INSTANT, nullable=True))
    op.add_column("campaign_variant", sa.Column("stopped_reason", sa.Text(), nullable=True))
    op.add_column("campaign_membership", sa.Column("ended_by", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("campaign_membership", "ended_by")
    op.drop_column("campaign_variant", "stopped_reason")
    op.drop_column("campaign_variant", "stopped_at")
    for column in reversed(columns()):
        op.drop_column("campaign", column.name)
