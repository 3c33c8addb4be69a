"""Store, for each answer of a user, how long the person waited for it.

An answer is a message of a user to a person whose last message had no answer yet. The function
`copy_answers` of the job `compute_credits` stores the answers in `insight_answer`. It processes
whole hours, the oldest hour first. An hour is processed at least two hours after its end.

A message may change after its hour was processed. Then a row trigger adds the conversation of the
message to `insight_answer_change`. From then on, the stored answers of this conversation are out of
date, so figures read its original messages. Later, `copy_answers` stores the answers of the
conversation again. The triggers ignore messages that are less than an hour old, because their hour
is not processed yet.

This revision only creates the tables and triggers. The job fills the table after the upgrade.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0112"
down_revision: str | None = "20261129_0111"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTION = """CREATE OR REPLACE FUNCTION note_late_answer()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_answer_change (conversation_id, at)
    SELECT c.conversation_id, min(c.at)
    FROM (VALUES (OLD.conversation_id, OLD.occurred_at), (NEW.conversation_id, NEW.occurred_at)) AS c (conversation_id, at)
    WHERE c.conversation_id IS NOT NULL AND c.at < now() - interval '1 hour'
    GROUP BY c.conversation_id;
    RETURN NULL;
END
$function$"""
NAMES = {event: f"note_late_answer_on_{event.lower()}" for event in ("DELETE", "INSERT", "UPDATE")}


def _old(row: str) -> str:
    return f"({row}.occurred_at < (now() - '01:00:00'::interval))"


def _has(row: str) -> str:
    return f"({row}.kind = 'message'::text) AND ({row}.conversation_id IS NOT NULL)"


def _is_sent(row: str) -> str:
    return f"({row}.status = ANY (ARRAY['sent'::text, 'delivered'::text]))"


def _differ(*columns: str) -> str:
    return " OR ".join(f"(old.{one} IS DISTINCT FROM new.{one})" for one in columns)


# A change of the status or the contact of a message matters only if the message is an answer of a
# user.
CONDITIONS = {
    "DELETE": f"({_has('old')} AND {_old('old')})",
    "INSERT": f"({_has('new')} AND {_old('new')})",
    "UPDATE": (
        f"((old.kind = 'message'::text) AND ({_old('old')} OR {_old('new')}) AND "
        f"({_differ('occurred_at', 'conversation_id', 'kind', 'direction', 'origin')} OR "
        "((new.direction = 'outgoing'::text) "
        "AND (new.origin = ANY (ARRAY['manual'::text, 'provider'::text])) "
        f"AND (({_is_sent('old')} <> {_is_sent('new')}) OR {_differ('contact_id')}))))"
    ),
}


def upgrade() -> None:
    op.create_table(
        "insight_answer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waited", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_answer")),
    )
    op.create_index(
        "idx_insight_answer_at",
        "insight_answer",
        ["at"],
        postgresql_include=["waited", "contact_id", "conversation_id"],
    )
    op.create_index("idx_insight_answer_conversation", "insight_answer", ["conversation_id"])
    op.create_table(
        "insight_answer_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_answer_change")),
    )
    op.create_table(
        "insight_answer_until",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_insight_answer_until_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_answer_until")),
    )
    op.execute(FUNCTION)
    for event, name in NAMES.items():
        op.execute(
            f"CREATE OR REPLACE TRIGGER {name} AFTER {event} ON activity FOR EACH ROW "
            f"WHEN ({CONDITIONS[event]}) EXECUTE FUNCTION note_late_answer()"
        )


def downgrade() -> None:
    for name in NAMES.values():
        op.execute(f"DROP TRIGGER {name} ON activity")
    op.execute("DROP FUNCTION note_late_answer()")
    for name in ("until", "change"):
        op.drop_table(f"insight_answer_{name}")
    op.drop_table("insight_answer")
