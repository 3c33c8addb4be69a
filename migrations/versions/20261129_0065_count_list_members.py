"""Count the contacts of each list whenever contacts are added or removed.

After every statement that adds contacts to lists or removes them, a trigger appends the changes of
the counts to `contact_list_tally`. The sum of a list's rows is its count. Code of the previous
release still counts the contacts of a list each time.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0065"
down_revision: str | None = "20261129_0064"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNT_LIST_MEMBERS = """
CREATE OR REPLACE FUNCTION count_list_members()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- The deletion of a list removes its counts by itself.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO contact_list_tally (list_id, contacts)
        SELECT list_id, count(*) FROM added GROUP BY list_id;
    ELSE
        INSERT INTO contact_list_tally (list_id, contacts)
        SELECT r.list_id, -count(*) FROM removed r
        WHERE EXISTS (SELECT 1 FROM contact_list l WHERE l.id = r.list_id)
        GROUP BY r.list_id;
    END IF;
    RETURN NULL;
END
$function$
"""
TRIGGERS = {"insert": "NEW TABLE AS added", "delete": "OLD TABLE AS removed"}

# The creation of the triggers blocks statements that write the table until the commit. So this
# count includes every existing row.
COUNT_WHAT_IS_THERE = """
INSERT INTO contact_list_tally (list_id, contacts)
SELECT list_id, count(*) FROM contact_list_member GROUP BY list_id
"""


def upgrade() -> None:
    op.create_table(
        "contact_list_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("list_id", sa.Uuid(), nullable=False),
        sa.Column("contacts", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["list_id"],
            ["contact_list.id"],
            name=op.f("fk_contact_list_tally_list_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_list_tally")),
    )
    op.create_index("idx_contact_list_tally_list", "contact_list_tally", ["list_id"])
    op.execute(COUNT_LIST_MEMBERS)
    for event, tables in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER count_list_members_on_{event} AFTER {event.upper()} "
            f"ON contact_list_member REFERENCING {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_list_members()"
        )
    op.execute(COUNT_WHAT_IS_THERE)


def downgrade() -> None:
    for event in TRIGGERS:
        op.execute(f"DROP TRIGGER count_list_members_on_{event} ON contact_list_member")
    op.execute("DROP FUNCTION count_list_members()")
    op.drop_table("contact_list_tally")
