"""Store sums of messages and costs by the ZIP, city and source of the person.

The function `update_place_sums` of the job `compute_credits` adds messages to the sums. It
processes whole hours, the oldest hour first. An hour is processed at least two hours after its end.

After an hour was processed, one of its messages may change, or a person may get another ZIP, city
or source. Row triggers record changes of messages in `insight_person_change`, and changes of people
in `insight_person_move`. Later, `update_place_sums` corrects the stored sums and deletes the
recorded changes. Until then, a figure adds the recorded changes of messages to the stored sums, and
uses the former ZIP, city and source of the changed people. The triggers ignore changes of messages
that are less than an hour old, because their hour is not processed yet.

This revision only creates the tables and triggers. The job computes the sums after the upgrade. The
revision also adds an index with the columns of outcomes that figures read.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0099"
down_revision: str | None = "20261129_0098"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNTS = ("sent", "delivered", "failed", "replied", "interested", "opted_out")
COSTS = ("accepted", "segments")
REACHED = "status IN ('sent', 'delivered', 'failed')"

LATE_MESSAGES = """CREATE OR REPLACE FUNCTION note_late_message()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_person_change (contact_id, is_first, at, sent, delivered, failed, replied, interested, opted_out)
    SELECT c.contact_id, c.step = 0, c.at, sum(c.sign * (c.status <> 'failed')::integer),
           sum(c.sign * (c.status = 'delivered')::integer), sum(c.sign * (c.status = 'failed')::integer),
           sum(c.sign * (c.status <> 'failed' AND c.has_replied)::integer),
           sum(c.sign * (c.status <> 'failed' AND c.has_replied AND c.is_interested)::integer),
           sum(c.sign * (c.status <> 'failed' AND c.has_opted_out)::integer)
    FROM (VALUES
        (-1, OLD.contact_id, OLD.step, OLD.status, coalesce(OLD.sent_at, OLD.due_at), OLD.replied_at IS NOT NULL, OLD.is_interested, OLD.opted_out_at IS NOT NULL),
        (1, NEW.contact_id, NEW.step, NEW.status, coalesce(NEW.sent_at, NEW.due_at), NEW.replied_at IS NOT NULL, NEW.is_interested, NEW.opted_out_at IS NOT NULL)
    ) AS c (sign, contact_id, step, status, at, has_replied, is_interested, has_opted_out)
    WHERE c.status IN ('sent', 'delivered', 'failed') AND c.at < now() - interval '1 hour'
    GROUP BY c.contact_id, c.step = 0, c.at;
    IF TG_OP <> 'INSERT' AND OLD.contact_id IS DISTINCT FROM NEW.contact_id THEN
        INSERT INTO insight_person_change (contact_id, at, accepted, segments)
        SELECT v.contact_id, a.accepted_at, v.sign, v.sign * coalesce(a.segments, 1)
        FROM send_attempt a CROSS JOIN (VALUES (-1, OLD.contact_id), (1, NEW.contact_id)) AS v (sign, contact_id)
        WHERE a.membership_id = OLD.id AND a.accepted_at < now() - interval '1 hour';
    END IF;
    RETURN NULL;
END
$function$"""


def _old(row: str) -> str:
    return (
        f"(({row}.status = ANY (ARRAY['sent'::text, 'delivered'::text, 'failed'::text])) AND "
        f"(COALESCE({row}.sent_at, {row}.due_at) < (now() - '01:00:00'::interval)))"
    )


def _differ(*columns: str) -> str:
    """Return the condition that a column has changed, in the form that PostgreSQL prints."""
    found = [f"({_of(one, 'old')} IS DISTINCT FROM {_of(one, 'new')})" for one in columns]
    return f"({' OR '.join(found)})"


def _of(column: str, row: str) -> str:
    name, _, test = column.partition(" ")
    return f"({row}.{name} {test})" if test else f"{row}.{name}"


COUNTED = _differ(
    *("contact_id", "step", "status", "sent_at", "due_at", "replied_at IS NULL", "is_interested"),
    "opted_out_at IS NULL",
)


def _trigger(name: str, event: str, table: str, condition: str, function: str) -> str:
    return (
        f"CREATE OR REPLACE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW "
        f"WHEN ({condition}) EXECUTE FUNCTION {function}()"
    )


LATE_MESSAGE_TRIGGERS = [
    _trigger(
        f"note_late_message_on_{event.lower()}",
        event,
        "campaign_membership",
        condition,
        "note_late_message",
    )
    for event, condition in (
        ("DELETE", _old("old")),
        ("INSERT", _old("new")),
        (
            "UPDATE",
            f"(({_old('old')} OR {_old('new')} OR (old.contact_id <> new.contact_id)) AND {COUNTED})",
        ),
    )
]
LATE_COSTS = """CREATE OR REPLACE FUNCTION note_late_cost()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_person_change (contact_id, at, accepted, segments)
    SELECT (SELECT m.contact_id FROM campaign_membership m WHERE m.id = c.membership_id), c.at, c.sign, c.sign * coalesce(c.segments, 1)
    FROM (VALUES (-1, OLD.membership_id, OLD.accepted_at, OLD.segments), (1, NEW.membership_id, NEW.accepted_at, NEW.segments))
        AS c (sign, membership_id, at, segments)
    WHERE c.at < now() - interval '1 hour';
    RETURN NULL;
END
$function$"""


def _old_cost(row: str) -> str:
    return f"({row}.accepted_at < (now() - '01:00:00'::interval))"


LATE_COST_TRIGGERS = [
    _trigger(
        f"note_late_cost_on_{event.lower()}", event, "send_attempt", condition, "note_late_cost"
    )
    for event, condition in (
        ("DELETE", _old_cost("old")),
        ("INSERT", _old_cost("new")),
        (
            "UPDATE",
            f"(({_old_cost('old')} OR {_old_cost('new')}) AND {_differ('accepted_at', 'segments', 'membership_id')})",
        ),
    )
]
# A merged duplicate has the place (ZIP, city and source) of the contact that it was merged into. So
# if this contact moves, its duplicates move too.
MOVES = """CREATE OR REPLACE FUNCTION note_moved_person()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF OLD.merged_into IS NULL THEN
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT d.id, OLD.postal_code, OLD.city, OLD.source
        FROM (SELECT OLD.id UNION ALL SELECT c.id FROM contact c WHERE c.merged_into = OLD.id) AS d (id);
    ELSE
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT OLD.id, p.postal_code, p.city, p.source FROM contact p WHERE p.id = OLD.merged_into;
    END IF;
    RETURN NULL;
END
$function$"""


MOVE_TRIGGER = _trigger(
    "note_moved_person",
    "UPDATE",
    "contact",
    _differ("postal_code", "city", "source", "merged_into"),
    "note_moved_person",
)


OUTCOMES = "idx_outcome_kind"
OUTCOMES_DEFINITION = (
    "outcome (kind, occurred_at) INCLUDE (id, amount_cents, source) WHERE reverses_id IS NULL"
)


def _counts() -> list[sa.Column[int]]:
    return [
        sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
        for name in (*COUNTS, *COSTS)
    ]


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    op.create_table(
        "insight_person_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("grain", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_first", sa.Boolean(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        *_counts(),
        sa.CheckConstraint(
            "dimension IN ('zip', 'city', 'source')", name=op.f("ck_insight_person_tally_dimension")
        ),
        sa.CheckConstraint("grain IN ('day', 'month')", name=op.f("ck_insight_person_tally_grain")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_person_tally")),
        if_not_exists=True,
    )
    op.create_index(
        "uq_insight_person_tally",
        "insight_person_tally",
        ["dimension", "grain", "at", "is_first", "key"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        if_not_exists=True,
    )
    op.create_table(
        "insight_person_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("is_first", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *_counts(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_person_change")),
        if_not_exists=True,
    )
    op.create_table(
        "insight_person_move",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_person_move")),
        if_not_exists=True,
    )
    op.create_table(
        "insight_person_until",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_insight_person_until_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_person_until")),
        if_not_exists=True,
    )
    for statement in (LATE_MESSAGES, LATE_COSTS, MOVES):
        op.execute(statement)
    for statement in (*LATE_MESSAGE_TRIGGERS, *LATE_COST_TRIGGERS, MOVE_TRIGGER):
        op.execute(statement)
    with op.get_context().autocommit_block():
        # If an earlier build was interrupted, it left an invalid index. Drop this index first.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {OUTCOMES}")
        op.execute(f"CREATE INDEX CONCURRENTLY {OUTCOMES} ON {OUTCOMES_DEFINITION}")


def downgrade() -> None:
    op.drop_index(OUTCOMES, "outcome")
    for event in ("delete", "insert", "update"):
        op.execute(f"DROP TRIGGER note_late_message_on_{event} ON campaign_membership")
        op.execute(f"DROP TRIGGER note_late_cost_on_{event} ON send_attempt")
    op.execute("DROP TRIGGER note_moved_person ON contact")
    for name in ("note_late_message", "note_late_cost", "note_moved_person"):
        op.execute(f"DROP FUNCTION {name}()")
    for name in ("until", "move", "change", "tally"):
        op.drop_table(f"insight_person_{name}")
