"""Index contacts by zone key: the state and time zones of the number.

A change of the legal rules concerns the contacts with some zone keys. The index finds these
contacts.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0054"
down_revision: str | None = "20261128_0053"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "idx_contact_zone_key"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON contact (zone_key) WHERE deleted_at IS NULL"
        )


def downgrade() -> None:
    op.drop_index(INDEX, table_name="contact")
