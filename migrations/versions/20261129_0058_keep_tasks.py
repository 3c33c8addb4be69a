"""Store tasks, and emit an event when a task changes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0058"
down_revision: str | None = "20261128_0057"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
EVENT_TYPES = (
    "message.received message.status call.status campaign.status campaign.counters "
    "import.progress contact.created opt_out opt_in alert"
)
EMIT = """
CREATE OR REPLACE FUNCTION emit_task_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    changed task%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    INSERT INTO event (type, subject_id, data)
    VALUES ('task.changed', changed.id, jsonb_build_object(
        'contact_id', changed.contact_id, 'conversation_id', changed.conversation_id,
        'assignee_id', changed.assignee_id, 'is_done', changed.done_at IS NOT NULL,
        'is_deleted', TG_OP = 'DELETE'));
    RETURN NULL;
END
$function$
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER emit_task_event AFTER INSERT OR DELETE OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION emit_task_event()
"""


def upgrade() -> None:
    op.create_table(
        "task",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("done_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name=op.f("fk_task_contact_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.id"],
            name=op.f("fk_task_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["assignee_id"], ["app_user.id"], name=op.f("fk_task_assignee_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    op.create_index("idx_task_due", "task", ["due_at", "id"])
    op.create_index(
        "idx_task_open", "task", ["due_at", "id"], postgresql_where=sa.text("done_at IS NULL")
    )
    op.create_index(
        "idx_task_done",
        "task",
        [sa.text("done_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("done_at IS NOT NULL"),
    )
    op.create_index(
        "idx_task_assignee",
        "task",
        ["assignee_id", "due_at", "id"],
        postgresql_where=sa.text("assignee_id IS NOT NULL"),
    )
    op.create_index("idx_task_contact", "task", ["contact_id", "due_at", "id"])
    op.create_index("idx_task_conversation", "task", ["conversation_id", "due_at", "id"])
    allow_event_types(f"{EVENT_TYPES} task.changed")
    op.execute(EMIT)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.drop_table("task")
    op.execute("DROP FUNCTION emit_task_event()")
    op.execute("DELETE FROM event WHERE type = 'task.changed'")
    allow_event_types(EVENT_TYPES)


def allow_event_types(words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split())
    op.execute("ALTER TABLE event DROP CONSTRAINT ck_event_type")
    op.execute(
        f"ALTER TABLE event ADD CONSTRAINT ck_event_type CHECK (type IN ({listed})) NOT VALID"
    )
    op.execute("ALTER TABLE event VALIDATE CONSTRAINT ck_event_type")
