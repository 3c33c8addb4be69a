"""Store a ledger of outcomes, and the person of each outcome in a separate table.

An outcome is, for example, an appointment, a quote or a paid invoice. Rows of the ledger are never
changed. An erasure changes only the separate table.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0081"
down_revision: str | None = "20261129_0080"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
KINDS = (
    "kind IN ('appointment_booked', 'appointment_held', 'quote_sent', 'quote_approved', "
    "'job_done', 'invoice_paid', 'custom')"
)
OBJECTS = (
    """
CREATE OR REPLACE TRIGGER append_only BEFORE DELETE OR UPDATE ON outcome FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
    """
CREATE OR REPLACE FUNCTION adopt_outcomes()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE outcome_subject SET contact_id = NEW.id, phone = NULL WHERE phone = NEW.phone;
    RETURN NULL;
END
$function$
""",
    """
CREATE OR REPLACE TRIGGER adopt_outcomes_on_update AFTER UPDATE ON contact FOR EACH ROW WHEN (((new.deleted_at IS NULL) AND ((old.deleted_at IS NOT NULL) OR (new.phone <> old.phone)))) EXECUTE FUNCTION adopt_outcomes()
""",
    """
CREATE OR REPLACE FUNCTION adopt_outcomes_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF EXISTS (SELECT FROM outcome_subject WHERE phone IS NOT NULL) THEN
        UPDATE outcome_subject s SET contact_id = a.id, phone = NULL
        FROM added a
        WHERE s.phone = a.phone AND a.deleted_at IS NULL;
    END IF;
    RETURN NULL;
END
$function$
""",
    """
CREATE OR REPLACE TRIGGER adopt_outcomes_on_insert AFTER INSERT ON contact REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION adopt_outcomes_for_new()
""",
)


def upgrade() -> None:
    op.create_table(
        "outcome",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("amount_cents", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_hash", sa.LargeBinary(), nullable=True),
        sa.Column("property_id", sa.Uuid(), nullable=True),
        sa.Column("reverses_id", sa.Uuid(), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(KINDS, name=op.f("ck_outcome_kind")),
        sa.CheckConstraint(
            "source IN ('person', 'import', 'calendar', 'api')", name=op.f("ck_outcome_source")
        ),
        sa.CheckConstraint("(kind = 'custom') = (name IS NOT NULL)", name=op.f("ck_outcome_name")),
        sa.CheckConstraint(
            "CASE WHEN reverses_id IS NULL THEN amount_cents >= 0 ELSE amount_cents <= 0 END",
            name=op.f("ck_outcome_amount_cents"),
        ),
        sa.ForeignKeyConstraint(
            ["reverses_id"], ["outcome.id"], name=op.f("fk_outcome_reverses_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcome")),
        sa.UniqueConstraint("external_hash", name=op.f("uq_outcome_external_hash")),
        sa.UniqueConstraint("reverses_id", name=op.f("uq_outcome_reverses_id")),
    )
    op.create_index("idx_outcome_occurred", "outcome", ["occurred_at", "id"])
    op.create_table(
        "outcome_subject",
        sa.Column("outcome_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "contact_id IS NULL OR phone IS NULL", name=op.f("ck_outcome_subject_one_person")
        ),
        sa.ForeignKeyConstraint(
            ["outcome_id"],
            ["outcome.id"],
            name=op.f("fk_outcome_subject_outcome_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("outcome_id", name=op.f("pk_outcome_subject")),
    )
    op.create_index("idx_outcome_subject_contact", "outcome_subject", ["contact_id"])
    op.create_index(
        "idx_outcome_subject_phone",
        "outcome_subject",
        ["phone"],
        postgresql_where=sa.text("phone IS NOT NULL"),
    )
    for statement in OBJECTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER adopt_outcomes_on_update ON contact")
    op.execute("DROP TRIGGER adopt_outcomes_on_insert ON contact")
    op.drop_table("outcome_subject")
    op.drop_table("outcome")
    op.execute("DROP FUNCTION adopt_outcomes()")
    op.execute("DROP FUNCTION adopt_outcomes_for_new()")
