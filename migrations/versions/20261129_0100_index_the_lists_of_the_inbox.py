"""Change the indexes of the inbox, so that each list is read in order from one index.

The new index `idx_conversation_state` has the conversations of each line and state in order. It
replaces two indexes: the index of conversations that are not done, and the index without the state.
The other indexes get more columns. So PostgreSQL does not have to read the row of a conversation to
check a flag or to find out since when the person waits. Until the code of the previous release is
replaced, it sorts all conversations for a page of all states.
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
"""The former and the new definition of each index."""


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
    # If an earlier build was interrupted, it left an invalid index. Drop this index first.
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def _replace(name: str, definition: str) -> None:
    """Build the new index, and only then drop the former index, so that lists are always fast."""
    new = f"{name}_new"
    _create(new, definition)
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"ALTER INDEX {new} RENAME TO {name}")
