"""Count the recipients of each campaign by status whenever recipients change.

After every statement that writes recipients (`campaign_membership`), a trigger appends the changes
of the counts to `campaign_tally`. The sum of a campaign's rows is its count. An append does not
wait for the lock of another row, so it does not block the processes that send messages.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261125_0002"
down_revision: str | None = "20261125_0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNT_RECIPIENTS = """
CREATE FUNCTION count_recipients() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO campaign_tally
            (campaign_id, step, variant, status, people, replied, opted_out)
        SELECT campaign_id, step, variant, status, count(*), count(replied_at), count(opted_out_at)
        FROM added GROUP BY 1, 2, 3, 4;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO campaign_tally
            (campaign_id, step, variant, status, people, replied, opted_out)
        SELECT campaign_id, step, variant, status,
               -count(*), -count(replied_at), -count(opted_out_at)
        FROM removed GROUP BY 1, 2, 3, 4;
    ELSE
        INSERT INTO campaign_tally
            (campaign_id, step, variant, status, people, replied, opted_out)
        SELECT campaign_id, step, variant, status, sum(people), sum(replied), sum(opted_out)
        FROM (
            SELECT campaign_id, step, variant, status, 1 AS people,
                   (replied_at IS NOT NULL)::integer AS replied,
                   (opted_out_at IS NOT NULL)::integer AS opted_out
            FROM added
            UNION ALL
            SELECT campaign_id, step, variant, status, -1,
                   -(replied_at IS NOT NULL)::integer, -(opted_out_at IS NOT NULL)::integer
            FROM removed
        ) change
        GROUP BY 1, 2, 3, 4
        HAVING sum(people) <> 0 OR sum(replied) <> 0 OR sum(opted_out) <> 0;
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
INSERT INTO campaign_tally (campaign_id, step, variant, status, people, replied, opted_out)
SELECT campaign_id, step, variant, status, count(*), count(replied_at), count(opted_out_at)
FROM campaign_membership GROUP BY 1, 2, 3, 4
"""


def upgrade() -> None:
    op.create_table(
        "campaign_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("variant", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("people", sa.BigInteger(), nullable=False),
        sa.Column("replied", sa.BigInteger(), nullable=False),
        sa.Column("opted_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_tally")),
    )
    op.create_index("idx_campaign_tally_campaign", "campaign_tally", ["campaign_id"])
    op.execute(COUNT_RECIPIENTS)
    for event, tables in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER count_recipients_on_{event} AFTER {event.upper()} "
            f"ON campaign_membership REFERENCING {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_recipients()"
        )
    op.execute(COUNT_WHAT_IS_THERE)


def downgrade() -> None:
    for event in TRIGGERS:
        op.execute(f"DROP TRIGGER count_recipients_on_{event} ON campaign_membership")
    op.execute("DROP FUNCTION count_recipients()")
    op.drop_table("campaign_tally")
