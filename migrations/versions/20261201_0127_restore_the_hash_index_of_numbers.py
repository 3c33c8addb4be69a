"""Create the hash index of the numbers of contacts again.

Revision 0119 dropped this index, because the unique index finds a contact by its number too. Other
programs rely on the name of the index.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261201_0127"
down_revision: str | None = "20261130_0126"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "idx_contact_phone_hash"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON contact USING hash (phone)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
