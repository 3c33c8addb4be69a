"""Index the ZIP, city and source of each contact, for figures of outcomes and times by place.

The index has a condition that is always true, `created_at > '-infinity'`. Statements that contain
this condition use the index. All other statements use the primary key.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0111"
down_revision: str | None = "20261129_0110"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "idx_contact_person"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {NAME} ON contact (id) "
            "INCLUDE (merged_into, postal_code, city, source) WHERE created_at > '-infinity'"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")
