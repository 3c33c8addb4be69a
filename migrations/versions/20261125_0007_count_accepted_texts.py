"""Count messages when the provider accepts them, and write no index just before each send.

After every statement that writes attempts (`send_attempt`), a trigger adds rows to `send_tally`.
They contain the change in the number of accepted messages, by line, campaign and quarter of an
hour. The sum of these rows over a day is compared with the daily limits of lines and campaigns. So
the check of a daily limit does not read the attempts, and many attempts do not make it slower. A
day of any time zone consists of whole quarters of an hour.

Two new columns are computed from the status of an attempt:

- `is_open`: the attempt is claimed (reserved by a worker), calling (its request is running) or
  unknown (it is not known whether the message was sent).
- `is_uncertain`: the attempt is parked (unclear, and waits for a user) or not_found (the look-ups
  at the provider did not find the message).

Before this revision, the indexes used the status. Now they use these two columns. The gate is the
last check before the request to the provider. It changes the status from claimed to calling, which
does not change the two columns. So the gate writes the row of the attempt, but no index.

The new columns need one rewrite of the table. The foreign key from attempts to lines is dropped,
because its check would lock the row of the line for each message. Lines are never deleted, so the
line of an attempt always exists.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261125_0007"
down_revision: str | None = "20261125_0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OPEN = "status IN ('claimed', 'calling', 'unknown')"
UNCERTAIN = "status IN ('parked', 'not_found')"

COUNT_ACCEPTED = """
CREATE FUNCTION count_accepted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), count(*)
        FROM added WHERE accepted_at IS NOT NULL GROUP BY 1, 2, 3;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), -count(*)
        FROM removed WHERE accepted_at IS NOT NULL GROUP BY 1, 2, 3;
    ELSE
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), sum(texts)
        FROM (
            SELECT line_id, campaign_id, accepted_at, 1 AS texts FROM added
            WHERE accepted_at IS NOT NULL
            UNION ALL
            SELECT line_id, campaign_id, accepted_at, -1 FROM removed
            WHERE accepted_at IS NOT NULL
        ) change
        GROUP BY 1, 2, 3 HAVING sum(texts) <> 0;
    END IF;
    RETURN NULL;
END
$$
"""

TRIGGERS = {
    "insert": "NEW TABLE AS added",
    "update": "OLD TABLE AS removed NEW TABLE AS added",
    "delete": "OLD TABLE AS removed",
}

# The creation of the triggers blocks statements that write the table until the commit. So this
# count includes every existing row.
COUNT_WHAT_IS_THERE = """
INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), count(*)
FROM send_attempt WHERE accepted_at > now() - interval '3 days' GROUP BY 1, 2, 3
"""


def upgrade() -> None:
    op.create_table(
        "send_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("texts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_send_tally")),
    )
    op.create_index("idx_send_tally_line", "send_tally", ["line_id", "quarter"])
    op.execute(COUNT_ACCEPTED)
    for event, tables in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER count_accepted_on_{event} AFTER {event.upper()} "
            f"ON send_attempt REFERENCING {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_accepted()"
        )
    op.execute(COUNT_WHAT_IS_THERE)
    _drop_indexes()
    op.add_column(
        "send_attempt", sa.Column("is_open", sa.Boolean(), sa.Computed(OPEN, persisted=True))
    )
    op.add_column(
        "send_attempt",
        sa.Column("is_uncertain", sa.Boolean(), sa.Computed(UNCERTAIN, persisted=True)),
    )
    op.execute("ALTER TABLE send_attempt SET (fillfactor = 70)")
    op.drop_constraint("fk_send_attempt_line_id", "send_attempt", type_="foreignkey")
    _create_indexes(
        open_key=["line_id", "campaign_id"],
        uncertain_key=["line_id", "created_at"],
        is_open="is_open",
        is_uncertain="is_uncertain",
    )


def downgrade() -> None:
    _drop_indexes()
    op.create_foreign_key("fk_send_attempt_line_id", "send_attempt", "line", ["line_id"], ["id"])
    op.execute("ALTER TABLE send_attempt RESET (fillfactor)")
    op.drop_column("send_attempt", "is_uncertain")
    op.drop_column("send_attempt", "is_open")
    _create_indexes(
        open_key=["line_id", "campaign_id", "lease_until"],
        uncertain_key=["line_id", "called_at"],
        is_open=OPEN,
        is_uncertain=UNCERTAIN,
        include=["campaign_id"],
    )
    for event in TRIGGERS:
        op.execute(f"DROP TRIGGER count_accepted_on_{event} ON send_attempt")
    op.execute("DROP FUNCTION count_accepted()")
    op.drop_table("send_tally")


def _drop_indexes() -> None:
    for name in (
        "uq_send_attempt_open_phone",
        "idx_send_attempt_open",
        "idx_send_attempt_uncertain",
    ):
        op.drop_index(name, "send_attempt")


def _create_indexes(
    *,
    open_key: list[str],
    uncertain_key: list[str],
    is_open: str,
    is_uncertain: str,
    include: list[str] | None = None,
) -> None:
    op.create_index(
        "uq_send_attempt_open_phone",
        "send_attempt",
        ["phone"],
        unique=True,
        postgresql_where=sa.text(is_open),
    )
    op.create_index(
        "idx_send_attempt_open", "send_attempt", open_key, postgresql_where=sa.text(is_open)
    )
    op.create_index(
        "idx_send_attempt_uncertain",
        "send_attempt",
        uncertain_key,
        postgresql_include=include,
        postgresql_where=sa.text(is_uncertain),
    )
