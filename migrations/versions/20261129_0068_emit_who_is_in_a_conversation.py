"""Emit events about who has a conversation open, and index these events.

The events are deleted after a minute. The index finds the events to delete.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0068"
down_revision: str | None = "20261129_0067"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EVENT_TYPES = (
    "message.received message.status call.status campaign.status campaign.counters "
    "import.progress contact.created opt_out opt_in alert task.changed conversation.changed"
)
INDEX = "idx_event_presence"


def upgrade() -> None:
    allow_event_types(f"{EVENT_TYPES} conversation.presence")
    with op.get_context().autocommit_block():
        # If an earlier build was interrupted, it left an invalid index. Drop this index first.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON event (recorded_at) "
            "WHERE type = 'conversation.presence'"
        )


def downgrade() -> None:
    op.execute(f"DROP INDEX {INDEX}")
    op.execute("DELETE FROM event WHERE type = 'conversation.presence'")
    allow_event_types(EVENT_TYPES)


def allow_event_types(words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split())
    op.execute("ALTER TABLE event DROP CONSTRAINT ck_event_type")
    op.execute(
        f"ALTER TABLE event ADD CONSTRAINT ck_event_type CHECK (type IN ({listed})) NOT VALID"
    )
    op.execute("ALTER TABLE event VALIDATE CONSTRAINT ck_event_type")
