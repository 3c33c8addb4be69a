"""Let campaigns repeat, and store whether a campaign is for new people, for customers, or for both.

A repeated campaign has a rule (such as every month) and the time of its next occurrence. At each
occurrence, the service creates a new draft from the repeated campaign. The unique index on
`series_id` and `occurrence_at` makes sure that each occurrence gets only one draft.

The column `kind` of a campaign has three values:

- `cold`: for people who were not in touch with the company before;
- `customer`: for people who know the company;
- `mixed`: for both.

A mixed campaign has an additional variant (`for_known`) for the people who were in touch with the
company before. While the service is updated, processes of the previous release do not use this
variant, because its weight is 0.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "20261129_0077"
down_revision: str | None = "20261129_0076"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SERIES = "fk_campaign_series_id"
INDEXES = {
    "uq_campaign_series_id_occurrence_at": "UNIQUE INDEX CONCURRENTLY {name} ON campaign "
    "(series_id, occurrence_at) WHERE series_id IS NOT NULL",
    "idx_campaign_next_occurrence": "INDEX CONCURRENTLY {name} ON campaign "
    "(next_occurrence_at, id) WHERE next_occurrence_at IS NOT NULL",
}


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    for column in (
        sa.Column("recurrence", JSONB(), nullable=True),
        sa.Column("next_occurrence_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("occurrence_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("series_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), server_default=sa.text("'cold'"), nullable=False),
    ):
        op.add_column("campaign", column, if_not_exists=True)
    op.execute("ALTER TABLE campaign DROP CONSTRAINT IF EXISTS ck_campaign_kind")
    op.execute(
        "ALTER TABLE campaign ADD CONSTRAINT ck_campaign_kind "
        "CHECK (kind IN ('cold', 'customer', 'mixed')) NOT VALID"
    )
    op.execute("ALTER TABLE campaign VALIDATE CONSTRAINT ck_campaign_kind")
    op.add_column(
        "campaign_variant",
        sa.Column("for_known", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        if_not_exists=True,
    )
    op.execute(f"ALTER TABLE campaign DROP CONSTRAINT IF EXISTS {SERIES}")
    op.execute(
        f"ALTER TABLE campaign ADD CONSTRAINT {SERIES} FOREIGN KEY (series_id) "
        "REFERENCES campaign (id) ON DELETE SET NULL NOT VALID"
    )
    op.execute(f"ALTER TABLE campaign VALIDATE CONSTRAINT {SERIES}")
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            # If an earlier build was interrupted, it left an invalid index. Drop this index first.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE {definition.format(name=name)}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.drop_column("campaign_variant", "for_known")
    for name in ("kind", "series_id", "occurrence_at", "next_occurrence_at", "recurrence"):
        op.drop_column("campaign", name)
