"""Store attribution rules, the credits of outcomes, and the runs that computed the credits.

A credit is the share of an outcome that is credited to one message.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261129_0082"
down_revision: str | None = "20261129_0081"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
APPEND_ONLY = """
CREATE OR REPLACE TRIGGER append_only BEFORE DELETE OR UPDATE ON attribution_rule FOR EACH ROW EXECUTE FUNCTION refuse_change()
"""


def upgrade() -> None:
    op.create_table(
        "attribution_rule",
        sa.Column("version", sa.Integer(), sa.Identity(always=True, start=2), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("windows", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "model IN ('last', 'first', 'linear', 'time_decay')",
            name=op.f("ck_attribution_rule_model"),
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_attribution_rule")),
    )
    op.create_table(
        "attribution_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("outcomes", sa.Integer(), nullable=False),
        sa.Column("inputs_hash", sa.LargeBinary(), nullable=False),
        sa.Column("result_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attribution_run")),
    )
    op.create_index("idx_attribution_run_version", "attribution_run", ["rules_version", "as_of"])
    op.create_table(
        "outcome_credit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("outcome_id", sa.Uuid(), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("membership_id", sa.Uuid(), nullable=True),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("variant", sa.Text(), nullable=True),
        sa.Column("step", sa.SmallInteger(), nullable=True),
        sa.Column("touch_class", sa.Text(), nullable=True),
        sa.Column("numerator", sa.BigInteger(), nullable=False),
        sa.Column("denominator", sa.BigInteger(), nullable=False),
        sa.Column("cents", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "touch_class IN ('replied', 'called', 'delivered')",
            name=op.f("ck_outcome_credit_touch_class"),
        ),
        sa.CheckConstraint(
            "numerator > 0 AND numerator <= denominator", name=op.f("ck_outcome_credit_weight")
        ),
        sa.ForeignKeyConstraint(
            ["outcome_id"],
            ["outcome.id"],
            name=op.f("fk_outcome_credit_outcome_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcome_credit")),
    )
    op.create_index("idx_outcome_credit_outcome", "outcome_credit", ["outcome_id", "rules_version"])
    op.create_index("idx_outcome_created", "outcome", ["created_at"])
    op.add_column(
        "outcome_subject",
        sa.Column(
            "person_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False
        ),
    )
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    op.drop_column("outcome_subject", "person_ids")
    op.drop_index("idx_outcome_created", "outcome")
    op.drop_table("outcome_credit")
    op.drop_table("attribution_run")
    op.drop_table("attribution_rule")
