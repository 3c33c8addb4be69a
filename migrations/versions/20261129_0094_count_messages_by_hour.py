"""Store sums of messages and accepted attempts by hour, for the figures of insight.

After each statement, triggers append the changes of the sums to `insight_tally`, as they do for
`campaign_tally`. The migration counts the existing rows in the same transaction. Until its commit,
statements that write recipients or attempts wait.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0094"
down_revision: str | None = "20261129_0093"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = {"count_messages_by_hour": "campaign_membership", "count_costs_by_hour": "send_attempt"}
NOBODY = "'00000000-0000-0000-0000-000000000000'"
GRAIN = (
    "CASE WHEN grouping(campaign_id) = 1 THEN 'all' "
    "WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END"
)
COUNTS = ("sent", "delivered", "failed", "replied", "opted_out")
COLUMNS = ("sent", "delivered", "failed", "replied", "opted_out", "accepted", "segments")


def _bin(unit: str, at: str) -> str:
    return f"date_bin('1 {unit}', {at}, '2000-01-01Z')"


def _messages(rows: str, sign: str = "") -> str:
    at = "coalesce(sent_at, due_at)"
    return f"""            SELECT campaign_id, step, variant, {_bin("hour", at)} AS hour, {_bin("day", at)} AS day,
                   {sign}(status <> 'failed')::integer AS sent, {sign}(status = 'delivered')::integer AS delivered,
                   {sign}(status = 'failed')::integer AS failed,
                   {sign}(status <> 'failed' AND replied_at IS NOT NULL)::integer AS replied,
                   {sign}(status <> 'failed' AND opted_out_at IS NOT NULL)::integer AS opted_out
            FROM {rows} WHERE status IN ('sent', 'delivered', 'failed')"""


def _attempts(rows: str, sign: str = "") -> str:
    return f"""                SELECT campaign_id, membership_id, accepted_at, {sign}1 AS accepted, {sign}coalesce(segments, 1) AS segments
                FROM {rows} WHERE accepted_at IS NOT NULL"""


def _add_messages(rows: str) -> str:
    return f"""
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, {", ".join(COUNTS)})
        SELECT {GRAIN},
               coalesce(campaign_id, {NOBODY}), step, coalesce(variant, 0), coalesce(hour, day),
               {", ".join(f"sum({one})" for one in COUNTS)}
        FROM (
{rows}
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING {" OR ".join(f"sum({one}) <> 0" for one in COUNTS)};"""


# `OFFSET 0` makes PostgreSQL look up the recipient of each attempt in the index, whatever the
# statistics of the table are.
_RECIPIENT = """LEFT JOIN LATERAL (
                SELECT r.step, r.variant FROM campaign_membership r WHERE r.id = c.membership_id OFFSET 0) m ON true"""
_ALL_RECIPIENTS = "LEFT JOIN campaign_membership m ON m.id = c.membership_id"
_COSTS = "INSERT INTO insight_tally (grain, campaign_id, step, variant, at, accepted, segments)"


def _changed(rows: str) -> str:
    """Return the SQL of the attempts whose cost has changed; other attempts need no look-up."""
    return f"""
                SELECT campaign_id, membership_id, accepted_at, sum(accepted) AS accepted, sum(segments) AS segments
                FROM (
{rows}
                ) each
                GROUP BY 1, 2, 3 HAVING sum(accepted) <> 0 OR sum(segments) <> 0"""


def _add_costs(rows: str, recipient: str) -> str:
    return f"""
        {_COSTS}
        SELECT {GRAIN},
               coalesce(campaign_id, {NOBODY}), step, coalesce(variant, 0), coalesce(hour, day), sum(accepted), sum(segments)
        FROM (
            SELECT c.campaign_id, coalesce(m.step, -1) AS step, coalesce(m.variant, -1) AS variant,
                   {_bin("hour", "c.accepted_at")} AS hour, {_bin("day", "c.accepted_at")} AS day, c.accepted, c.segments
            FROM ({rows}
            ) c
            {recipient}
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING sum(accepted) <> 0 OR sum(segments) <> 0;"""


def _add_attempts(rows: str) -> str:
    return _add_costs(_changed(rows), _RECIPIENT)


MOVE = f"""CREATE OR REPLACE FUNCTION move_costs_of_recipient()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    {_COSTS}
    SELECT {GRAIN},
           coalesce(campaign_id, {NOBODY}), step, coalesce(variant, 0), coalesce(hour, day), sum(sign), sum(sign * segments)
    FROM (
        SELECT a.campaign_id, v.step, v.variant, {_bin("hour", "a.accepted_at")} AS hour, {_bin("day", "a.accepted_at")} AS day,
               v.sign, coalesce(a.segments, 1) AS segments
        FROM send_attempt a CROSS JOIN (VALUES (OLD.step, OLD.variant, -1), (NEW.step, NEW.variant, 1)) AS v (step, variant, sign)
        WHERE a.membership_id = NEW.id AND a.accepted_at IS NOT NULL
    ) change
    GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
    HAVING sum(sign) <> 0 OR sum(sign * segments) <> 0;
    RETURN NULL;
END
$function$"""
MOVES = (
    "CREATE OR REPLACE TRIGGER move_costs_of_recipient AFTER UPDATE OF step, variant "
    "ON campaign_membership FOR EACH ROW WHEN ((((old.step <> new.step) OR (old.variant <> new.variant)) AND "
    "((new.status <> 'pending'::text) OR (new.attempts > 0)))) "
    "EXECUTE FUNCTION move_costs_of_recipient()"
)


Text = Callable[..., str]
STATEMENTS: dict[str, tuple[Text, Text]] = {
    "count_messages_by_hour": (_add_messages, _messages),
    "count_costs_by_hour": (_add_attempts, _attempts),
}


def function(name: str) -> str:
    """Return the SQL that creates a trigger function."""
    add, rows = STATEMENTS[name]
    both = f"{rows('added')}\n                UNION ALL\n{rows('removed', '-')}"
    return f"""CREATE OR REPLACE FUNCTION {name}()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN{add(rows("added"))}
    ELSIF TG_OP = 'DELETE' THEN{add(rows("removed", "-"))}
    ELSE{add(both)}
    END IF;
    RETURN NULL;
END
$function$"""


def triggers(name: str) -> list[str]:
    """Return the SQL statements that create the triggers of a function."""
    return [
        f"CREATE OR REPLACE TRIGGER {name}_on_{event.lower()} AFTER {event} ON {TABLES[name]} "
        f"REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        for event, rows in (
            ("DELETE", "OLD TABLE AS removed"),
            ("INSERT", "NEW TABLE AS added"),
            ("UPDATE", "OLD TABLE AS removed NEW TABLE AS added"),
        )
    ]


def upgrade() -> None:
    count = [
        sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
        for name in COLUMNS
    ]
    op.create_table(
        "insight_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("grain", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("variant", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *count,
        sa.Column("is_merged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("grain IN ('all', 'day', 'hour')", name=op.f("ck_insight_tally_grain")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight_tally")),
    )
    for name in STATEMENTS:
        op.execute(function(name))
        for trigger in triggers(name):
            op.execute(trigger)
    op.execute(MOVE)
    op.execute(MOVES)
    op.execute(_add_messages(_messages("campaign_membership")))
    op.execute(_add_costs(_attempts("send_attempt"), _ALL_RECIPIENTS))
    op.execute("UPDATE insight_tally SET is_merged = true")
    op.create_index("idx_insight_tally_grain", "insight_tally", ["grain", "at"])
    op.create_index("idx_insight_tally_campaign", "insight_tally", ["campaign_id", "grain", "at"])
    op.create_index(
        "idx_insight_tally_fresh",
        "insight_tally",
        ["id"],
        postgresql_where=sa.text("NOT is_merged"),
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER move_costs_of_recipient ON campaign_membership")
    op.execute("DROP FUNCTION move_costs_of_recipient()")
    for name, table in TABLES.items():
        for event in ("delete", "insert", "update"):
            op.execute(f"DROP TRIGGER {name}_on_{event} ON {table}")
        op.execute(f"DROP FUNCTION {name}()")
    op.drop_table("insight_tally")
