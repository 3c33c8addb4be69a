"""Store holdouts and the groups of their people, and allow a holdout as a skip reason.

A holdout measures the effect of campaigns: one of its two groups gets no campaign messages. The
recipients in this group are skipped.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0084"
down_revision: str | None = "20261129_0083"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
REASONS = (
    "opted_out do_not_contact opt_out_hold contact_deleted invalid_number landline "
    "duplicate_number merged previously_contacted rejected replied called previous_failed "
    "campaign_ended texted_since_backup missing_value missing_identification text_failed"
)


def upgrade() -> None:
    # The block in `allow_reasons` commits these statements, but the revision is stored only at the
    # end. After an interruption they run again, so each of them also works if it has run before.
    op.create_table(
        "holdout",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("percent", sa.SmallInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("hash_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("scope IN ('cold', 'all')", name=op.f("ck_holdout_scope")),
        sa.CheckConstraint("percent BETWEEN 1 AND 50", name=op.f("ck_holdout_percent")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_holdout_period")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holdout")),
        if_not_exists=True,
    )
    op.create_index("idx_holdout_created", "holdout", ["created_at", "id"], if_not_exists=True)
    op.create_table(
        "holdout_person",
        sa.Column("holdout_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("is_held", sa.Boolean(), nullable=False),
        sa.Column("assigned_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["holdout_id"],
            ["holdout.id"],
            name=op.f("fk_holdout_person_holdout_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("holdout_id", "contact_id", name=op.f("pk_holdout_person")),
        if_not_exists=True,
    )
    allow_reasons(f"{REASONS} holdout")


def downgrade() -> None:
    # As in `upgrade`, these statements may run again.
    op.drop_table("holdout_person", if_exists=True)
    op.drop_table("holdout", if_exists=True)
    op.execute(
        "UPDATE campaign_membership SET skip_reason = 'rejected' WHERE skip_reason = 'holdout'"
    )
    allow_reasons(REASONS)


def allow_reasons(words: str) -> None:
    """Replace the constraint; with NOT VALID only new rows are checked, so the lock is short."""
    listed = ", ".join(f"'{word}'" for word in words.split())
    name = "ck_campaign_membership_skip_reason"
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE campaign_membership DROP CONSTRAINT IF EXISTS {name}")
        op.execute(
            f"ALTER TABLE campaign_membership ADD CONSTRAINT {name} "
            f"CHECK (skip_reason IN ({listed})) NOT VALID"
        )
        op.execute(f"ALTER TABLE campaign_membership VALIDATE CONSTRAINT {name}")
