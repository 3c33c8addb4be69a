"""Store how far the sandbox's time was moved.

The database dates each new event by its own clock. A new trigger adds the offset of the sandbox's
time to this date. The trigger is disabled until the sandbox's time is moved for the first time. So
it takes no time in an installation with a real API key.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0038"
down_revision: str | None = "20261126_0037"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)

DATE_EVENT = """
CREATE FUNCTION date_event_in_sandbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.recorded_at := NEW.recorded_at
        + coalesce((SELECT ahead FROM sandbox_clock WHERE name = 'sandbox'), interval '0');
    RETURN NEW;
END
$$
"""
ON_EVENT = """
CREATE TRIGGER date_event_in_sandbox BEFORE INSERT ON event
FOR EACH ROW EXECUTE FUNCTION date_event_in_sandbox()
"""


def upgrade() -> None:
    op.create_table(
        "sandbox_clock",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ahead", sa.Interval(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("is_moving", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("from_at", INSTANT, nullable=True),
        sa.Column("to_at", INSTANT, nullable=True),
        sa.Column("stops", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("held_until", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sandbox_clock")),
    )
    op.execute(DATE_EVENT)
    op.execute(ON_EVENT)
    op.execute("ALTER TABLE event DISABLE TRIGGER date_event_in_sandbox")


def downgrade() -> None:
    op.execute("DROP TRIGGER date_event_in_sandbox ON event")
    op.execute("DROP FUNCTION date_event_in_sandbox()")
    op.drop_table("sandbox_clock")
