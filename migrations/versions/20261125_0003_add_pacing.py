"""Store the pace of campaigns, the daily ramp of lines, and the probe of blocked lines.

The pace (`campaign_pace`) says when a campaign may send its next message. A ramp plan has the
rising daily limits of a new line. A probe is one message that tests whether the provider accepts
messages from a blocked line again.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261125_0003"
down_revision: str | None = "20261125_0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "campaign_pace",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("next_at", INSTANT, nullable=False),
        sa.Column("batch_left", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_campaign_pace_campaign_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_campaign_pace")),
    )
    op.add_column("line", sa.Column("ramp_plan", sa.ARRAY(sa.Integer()), nullable=True))
    op.add_column("line", sa.Column("ramp_started_on", sa.Date(), nullable=True))
    op.add_column(
        "line",
        sa.Column("is_probing", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("line", sa.Column("probe_at", INSTANT, nullable=True))
    op.add_column(
        "line", sa.Column("probes", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )


def downgrade() -> None:
    for name in ("probes", "probe_at", "is_probing", "ramp_started_on", "ramp_plan"):
        op.drop_column("line", name)
    op.drop_table("campaign_pace")
