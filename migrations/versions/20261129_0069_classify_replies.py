"""Store the reply class of each received message, and who chose the class.

The reply class is the kind of a reply, such as a question. Code of the previous release stores
messages without a class, so the class may be null.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0069"
down_revision: str | None = "20261129_0068"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "ck_activity_reply_class"
CLASSES = "interested question later not_interested wrong_number stop other"


def upgrade() -> None:
    listed = ", ".join(f"'{word}'" for word in CLASSES.split())
    # With NOT VALID only new rows are checked, so the lock is short. VALIDATE reads the existing
    # rows and does not block statements that write. After an interruption, the migration starts
    # again from the beginning.
    op.execute("ALTER TABLE activity ADD COLUMN IF NOT EXISTS reply_class text")
    op.execute("ALTER TABLE activity ADD COLUMN IF NOT EXISTS reply_class_by text")
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE activity DROP CONSTRAINT IF EXISTS {NAME}")
        op.execute(
            f"ALTER TABLE activity ADD CONSTRAINT {NAME} "
            f"CHECK (reply_class IN ({listed})) NOT VALID"
        )
        op.execute(f"ALTER TABLE activity VALIDATE CONSTRAINT {NAME}")


def downgrade() -> None:
    op.drop_constraint(NAME, "activity")
    op.drop_column("activity", "reply_class_by")
    op.drop_column("activity", "reply_class")
