"""Store the recipients of a campaign (its audience) in chunks.

Two new columns store how many recipients are written and where the next chunk begins. The foreign
key from recipients to campaigns is dropped, because its check took time for each recipient. A new
index finds the campaigns that were cancelled recently; a job reads them every minute.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0026"
down_revision: str | None = "20261126_0025"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECK = "fk_campaign_membership_campaign_id"


def upgrade() -> None:
    op.add_column(
        "campaign",
        sa.Column("recipients_written", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("campaign", sa.Column("written_up_to", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE campaign SET recipients_written = recipients_total "
        "WHERE recipients_total IS NOT NULL"
    )
    op.create_index(
        "idx_campaign_cancelled",
        "campaign",
        ["finished_at"],
        postgresql_where=sa.text("status = 'cancelled'"),
    )
    op.drop_constraint(CHECK, "campaign_membership", type_="foreignkey")


def downgrade() -> None:
    op.create_foreign_key(
        CHECK, "campaign_membership", "campaign", ["campaign_id"], ["id"], ondelete="CASCADE"
    )
    op.drop_index(
        "idx_campaign_cancelled",
        table_name="campaign",
        postgresql_where=sa.text("status = 'cancelled'"),
    )
    op.drop_column("campaign", "written_up_to")
    op.drop_column("campaign", "recipients_written")
