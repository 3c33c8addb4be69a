"""Store the work in conversations: state, waiting time, snooze, assignee, and what was read.

Existing conversations get the state `done`. While the service is updated, processes of the previous
release store messages without `asked_at` (the time since which a message needs an answer).
Conversations with such a message do not become waiting.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0067"
down_revision: str | None = "20261129_0066"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
EVENT_TYPES = (
    "message.received message.status call.status campaign.status campaign.counters "
    "import.progress contact.created opt_out opt_in alert task.changed"
)
TIMES = ("waiting_since", "answered_at", "decided_at", "decided_since", "snoozed_until")
CHECKS = {
    "ck_conversation_state": "state IN ('waiting', 'open', 'snoozed', 'done')",
    "ck_conversation_snoozed_until": "(state = 'snoozed') = (snoozed_until IS NOT NULL)",
}
LATEST = "last_activity_at DESC, id DESC"
INDEXES = {
    "idx_conversation_work": (
        f"(line_id, state, {LATEST}) INCLUDE (assignee_id, last_incoming_at) WHERE state <> 'done'"
    ),
    "idx_conversation_waiting": "(line_id, waiting_since, id) WHERE waiting_since IS NOT NULL",
    "idx_conversation_assignee": f"(assignee_id, state, {LATEST}) WHERE assignee_id IS NOT NULL",
    "idx_conversation_unassigned": (
        f"(state, {LATEST}) WHERE assignee_id IS NULL AND state <> 'done'"
    ),
    "idx_conversation_campaign": f"(campaign_id, state, {LATEST}) WHERE campaign_id IS NOT NULL",
    "idx_conversation_snoozed": "(snoozed_until, id) WHERE snoozed_until IS NOT NULL",
}
EMIT = """
CREATE OR REPLACE FUNCTION emit_conversation_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('conversation.changed', NEW.id, jsonb_build_object(
        'line_id', NEW.line_id, 'contact_id', NEW.contact_id, 'state', NEW.state,
        'waiting_since', NEW.waiting_since, 'assignee_id', NEW.assignee_id,
        'snoozed_until', NEW.snoozed_until));
    RETURN NULL;
END
$function$
"""
ON_INSERT = """
CREATE OR REPLACE TRIGGER emit_conversation_event_on_insert AFTER INSERT ON conversation FOR EACH ROW WHEN ((new.state <> 'done'::text)) EXECUTE FUNCTION emit_conversation_event()
"""
ON_UPDATE = """
CREATE OR REPLACE TRIGGER emit_conversation_event_on_update AFTER UPDATE ON conversation FOR EACH ROW WHEN (((old.state IS DISTINCT FROM new.state) OR (old.waiting_since IS DISTINCT FROM new.waiting_since) OR (old.snoozed_until IS DISTINCT FROM new.snoozed_until) OR (old.assignee_id IS DISTINCT FROM new.assignee_id) OR (old.contact_id IS DISTINCT FROM new.contact_id))) EXECUTE FUNCTION emit_conversation_event()
"""


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    for column in (
        sa.Column("state", sa.Text(), server_default=sa.text("'done'"), nullable=False),
        *(sa.Column(name, INSTANT, nullable=True) for name in TIMES),
        *(sa.Column(name, sa.Uuid(), nullable=True) for name in ("assignee_id", "campaign_id")),
        sa.Column("updated_at", INSTANT, nullable=True),
    ):
        op.add_column("conversation", column, if_not_exists=True)
    op.add_column("activity", sa.Column("asked_at", INSTANT, nullable=True), if_not_exists=True)
    for name, rule in CHECKS.items():
        op.execute(f"ALTER TABLE conversation DROP CONSTRAINT IF EXISTS {name}")
        op.execute(f"ALTER TABLE conversation ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
        op.execute(f"ALTER TABLE conversation VALIDATE CONSTRAINT {name}")
    op.execute("ALTER TABLE conversation DROP CONSTRAINT IF EXISTS fk_conversation_assignee_id")
    op.execute(
        "ALTER TABLE conversation ADD CONSTRAINT fk_conversation_assignee_id FOREIGN KEY "
        "(assignee_id) REFERENCES app_user (id) ON DELETE SET NULL NOT VALID"
    )
    op.execute("ALTER TABLE conversation VALIDATE CONSTRAINT fk_conversation_assignee_id")
    op.create_table(
        "conversation_read",
        sa.Column("caller_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("read_until", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.id"],
            name=op.f("fk_conversation_read_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("caller_id", "conversation_id", name=op.f("pk_conversation_read")),
        if_not_exists=True,
    )
    op.create_index(
        "idx_conversation_read_conversation",
        "conversation_read",
        ["conversation_id"],
        if_not_exists=True,
    )
    allow_event_types(f"{EVENT_TYPES} conversation.changed")
    op.execute(EMIT)
    op.execute(ON_INSERT)
    op.execute(ON_UPDATE)
    with op.get_context().autocommit_block():
        for name, on in INDEXES.items():
            # If an earlier build was interrupted, it left an invalid index. Drop this index first.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON conversation {on}")


def downgrade() -> None:
    op.drop_table("conversation_read")
    op.execute("DROP TRIGGER emit_conversation_event_on_insert ON conversation")
    op.execute("DROP TRIGGER emit_conversation_event_on_update ON conversation")
    op.execute("DROP FUNCTION emit_conversation_event()")
    op.execute("DELETE FROM event WHERE type = 'conversation.changed'")
    allow_event_types(EVENT_TYPES)
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.drop_column("activity", "asked_at")
    for name in CHECKS:
        op.execute(f"ALTER TABLE conversation DROP CONSTRAINT {name}")
    for name in (
        *("updated_at", "campaign_id", "assignee_id", "snoozed_until", "decided_since"),
        *("decided_at", "answered_at", "waiting_since", "state"),
    ):
        op.drop_column("conversation", name)


def allow_event_types(words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split())
    op.execute("ALTER TABLE event DROP CONSTRAINT ck_event_type")
    op.execute(
        f"ALTER TABLE event ADD CONSTRAINT ck_event_type CHECK (type IN ({listed})) NOT VALID"
    )
    op.execute("ALTER TABLE event VALIDATE CONSTRAINT ck_event_type")
