"""Allow away replies, and store when a conversation last got one.

An away reply is an automatic message while the office is closed. `away` is the origin of such a
message and the kind of its attempts.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0079"
down_revision: str | None = "20261129_0078"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BEFORE = {
    ("activity", "origin"): "campaign manual test confirmation help provider",
    ("send_attempt", "kind"): "campaign manual test confirmation help",
}
AFTER = {
    ("activity", "origin"): "campaign manual test confirmation help away provider",
    ("send_attempt", "kind"): "campaign manual test confirmation help away",
}


def _replace(rules: dict[tuple[str, str], str]) -> None:
    # With NOT VALID only new rows are checked, so the lock is short. VALIDATE reads the existing
    # rows and does not block statements that write. After an interruption, the migration starts
    # again from the beginning.
    for (table, column), words in rules.items():
        listed = ", ".join(f"'{word}'" for word in words.split())
        name = f"ck_{table}_{column}"
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IN ({listed})) NOT VALID"
        )
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def upgrade() -> None:
    op.execute("ALTER TABLE conversation ADD COLUMN IF NOT EXISTS away_replied_at timestamptz")
    with op.get_context().autocommit_block():
        _replace(AFTER)


def downgrade() -> None:
    op.execute("ALTER TABLE conversation DROP COLUMN IF EXISTS away_replied_at")
    for table, column in AFTER:
        op.execute(f"UPDATE {table} SET {column} = 'help' WHERE {column} = 'away'")
    with op.get_context().autocommit_block():
        _replace(BEFORE)
