"""Store appointments, and emit an event when an appointment changes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0085"
down_revision: str | None = "20261129_0084"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
EVENT_TYPES = (
    "message.received message.status call.status campaign.status campaign.counters "
    "import.progress contact.created opt_out opt_in alert task.changed "
    "conversation.changed conversation.presence"
)
EMIT = """
CREATE OR REPLACE FUNCTION emit_appointment_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('appointment.changed', NEW.id, jsonb_build_object(
        'contact_id', NEW.contact_id, 'property_id', NEW.property_id,
        'assignee_id', NEW.assignee_id, 'status', NEW.status,
        'starts_at', NEW.starts_at, 'ends_at', NEW.ends_at));
    RETURN NULL;
END
$function$
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER emit_appointment_event AFTER INSERT OR UPDATE OF assignee_id, contact_id, property_id, sequence ON appointment FOR EACH ROW EXECUTE FUNCTION emit_appointment_event()
"""


def upgrade() -> None:
    op.create_table(
        "appointment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("property_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "kind IN ('assessment', 'repair', 'other')", name=op.f("ck_appointment_kind")
        ),
        sa.CheckConstraint(
            "status IN ('booked', 'held', 'cancelled', 'no_show')",
            name=op.f("ck_appointment_status"),
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_appointment_times")),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contact.id"],
            name=op.f("fk_appointment_contact_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["property_id"],
            ["property.id"],
            name=op.f("fk_appointment_property_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["assignee_id"],
            ["app_user.id"],
            name=op.f("fk_appointment_assignee_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appointment")),
    )
    op.create_index("idx_appointment_start", "appointment", ["starts_at", "id"])
    op.create_index(
        "idx_appointment_assignee",
        "appointment",
        ["assignee_id", "starts_at", "id"],
        postgresql_where=sa.text("assignee_id IS NOT NULL"),
    )
    op.create_index("idx_appointment_contact", "appointment", ["contact_id", "starts_at", "id"])
    op.create_index(
        "idx_appointment_property",
        "appointment",
        ["property_id", "starts_at", "id"],
        postgresql_where=sa.text("property_id IS NOT NULL"),
    )
    allow_event_types(f"{EVENT_TYPES} appointment.changed")
    op.execute(EMIT)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.drop_table("appointment")
    op.execute("DROP FUNCTION emit_appointment_event()")
    op.execute("DELETE FROM event WHERE type = 'appointment.changed'")
    allow_event_types(EVENT_TYPES)


def allow_event_types(words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split())
    op.execute("ALTER TABLE event DROP CONSTRAINT ck_event_type")
    op.execute(
        f"ALTER TABLE event ADD CONSTRAINT ck_event_type CHECK (type IN ({listed})) NOT VALID"
    )
    op.execute("ALTER TABLE event VALIDATE CONSTRAINT ck_event_type")
