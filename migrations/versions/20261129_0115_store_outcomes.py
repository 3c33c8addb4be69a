"""Store outcomes with the place (ZIP, city and source) of the person, for figures by place.

Reversed outcomes are not stored. Row triggers record new outcomes, reversals, and changes of the
person of an outcome. A job then stores or removes the recorded outcomes. The migration records all
existing outcomes, so the first runs of the job store them. Until then, figures by place look up the
person of each outcome.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0115"
down_revision: str | None = "20261129_0114"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOTE_OUTCOME = """CREATE OR REPLACE FUNCTION note_outcome()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_outcome_change (outcome_id) VALUES (coalesce(NEW.reverses_id, NEW.id));
    RETURN NULL;
END
$function$"""
NOTE_SUBJECT = """CREATE OR REPLACE FUNCTION note_subject()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_outcome_change (outcome_id) VALUES (coalesce(NEW.outcome_id, OLD.outcome_id));
    RETURN NULL;
END
$function$"""
FORGET_PLACES = """CREATE OR REPLACE FUNCTION forget_places()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE insight_answer k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    UPDATE insight_outcome k SET is_placed = false, zip = NULL, city = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    UPDATE insight_reply k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    RETURN NULL;
END
$function$"""
FORGOT_PLACES = """CREATE OR REPLACE FUNCTION forget_places()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE insight_answer k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    UPDATE insight_reply k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    RETURN NULL;
END
$function$"""
ON_OUTCOME = (
    "CREATE OR REPLACE TRIGGER note_outcome AFTER INSERT ON outcome "
    "FOR EACH ROW EXECUTE FUNCTION note_outcome()"
)
ON_SUBJECT = (
    "CREATE OR REPLACE TRIGGER note_subject AFTER INSERT OR DELETE ON outcome_subject "
    "FOR EACH ROW EXECUTE FUNCTION note_subject()"
)
ON_UPDATE = (
    "CREATE OR REPLACE TRIGGER note_subject_on_update AFTER UPDATE ON outcome_subject "
    "FOR EACH ROW WHEN ((old.contact_id IS DISTINCT FROM new.contact_id)) "
    "EXECUTE FUNCTION note_subject()"
)


def upgrade() -> None:
    op.create_table(
        "insight_outcome",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=True),
        sa.Column("is_placed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("zip", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_outcome")),
    )
    op.create_index(
        "idx_insight_outcome_zip",
        "insight_outcome",
        ["kind", "zip"],
        postgresql_include=["at", "amount_cents", "id"],
        postgresql_where=sa.text("is_placed"),
    )
    op.create_index("idx_insight_outcome_contact", "insight_outcome", ["contact_id"])
    op.create_index(
        "idx_insight_outcome_unplaced",
        "insight_outcome",
        ["id"],
        postgresql_where=sa.text("NOT is_placed"),
    )
    op.create_table(
        "insight_outcome_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("outcome_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_outcome_change")),
    )
    for statement in (NOTE_OUTCOME, ON_OUTCOME, NOTE_SUBJECT, ON_SUBJECT, ON_UPDATE, FORGET_PLACES):
        op.execute(statement)
    # This transaction has created the triggers. So every outcome is recorded, either by this
    # statement or by a trigger.
    op.execute(
        "INSERT INTO insight_outcome_change (outcome_id) "
        "SELECT o.id FROM outcome o WHERE o.reverses_id IS NULL"
    )


def downgrade() -> None:
    op.execute(FORGOT_PLACES)
    op.execute("DROP TRIGGER note_subject_on_update ON outcome_subject")
    op.execute("DROP TRIGGER note_subject ON outcome_subject")
    op.execute("DROP FUNCTION note_subject()")
    op.execute("DROP TRIGGER note_outcome ON outcome")
    op.execute("DROP FUNCTION note_outcome()")
    op.drop_table("insight_outcome_change")
    op.drop_table("insight_outcome")
