"""Read every list of the inbox in order from an index, with one index of conversations less.

One index has the conversations of each line and state in order. It replaces the one of those that
are not done and the one without the state. The others get columns, so that PostgreSQL need not read
a conversation to check a flag or to see since when its person waits. Until it is replaced, code of
the previous release sorts all conversations for a page of all states.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0100"
down_revision: str | None = "20261129_0099"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

LATEST = "last_activity_at DESC, id DESC"
OF_STATES, OF_WORK, OF_LINES = (f"idx_conversation_{end}" for end in ("state", "work", "line"))
OF_FLAGS = "idx_contact_flag_other"
SUPPRESSING = "flag_type IN ('opted_out', 'opt_out_hold', 'do_not_contact')"
SINCE = "INCLUDE (waiting_since)"
WAITING = "waiting_since IS NOT NULL"
REPLACED = {
    "idx_conversation_waiting": (
        f"conversation (line_id, waiting_since, id) WHERE {WAITING}",
        f"conversation (line_id, state, waiting_since, id) INCLUDE (phone) WHERE {WAITING}",
    ),
    "idx_conversation_assignee": (
        f"conversation (assignee_id, state, {LATEST}) WHERE assignee_id IS NOT NULL",
        f"conversation (assignee_id, state, {LATEST}) {SINCE} WHERE assignee_id IS NOT NULL",
    ),
    "idx_conversation_campaign": (
        f"conversation (campaign_id, state, {LATEST}) WHERE campaign_id IS NOT NULL",
        f"conversation (campaign_id, state, {LATEST}) {SINCE} WHERE campaign_id IS NOT NULL",
    ),
    "idx_contact_flag_type_phone": (
        f"contact_flag (flag_type, phone) WHERE {SUPPRESSING}",
        f"contact_flag (flag_type, phone) INCLUDE (expires_at) WHERE {SUPPRESSING}",
    ),
}
"""For each index its former and its new definition."""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        _create(
            OF_STATES,
            f"conversation (line_id, state, {LATEST}) INCLUDE (phone, last_incoming_at)",
        )
        _create(
            OF_FLAGS,
            f"contact_flag (flag_type) INCLUDE (phone, expires_at) WHERE ({SUPPRESSING}) IS FALSE",
        )
        for name, (_, definition) in REPLACED.items():
            _replace(name, definition)
        for name in (OF_WORK, OF_LINES):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        _create(OF_LINES, f"conversation (line_id, {LATEST})")
        _create(
            OF_WORK,
            f"conversation (line_id, state, {LATEST}) INCLUDE (assignee_id, last_incoming_at) "
            "WHERE state <> 'done'",
        )
        for name, (definition, _) in REPLACED.items():
            _replace(name, definition)
        for name in (OF_STATES, OF_FLAGS):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _create(name: str, definition: str) -> None:
    # An interrupted build leaves an index that is not valid.
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def _replace(name: str, definition: str) -> None:
    """Build the new index before the former one is dropped, so that lists stay fast meanwhile."""
    new = f"{name}_new"
    _create(new, definition)
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"ALTER INDEX {new} RENAME TO {name}")
