"""Let API keys expire and be replaced, and store when they were last used."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0034"
down_revision: str | None = "20261126_0033"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("api_key", sa.Column("expires_at", INSTANT))
    op.add_column("api_key", sa.Column("last_used_at", INSTANT))
    op.add_column("api_key", sa.Column("replaces_id", sa.Uuid()))
    op.add_column("api_key", sa.Column("created_by", sa.Text()))
    # At most one key may replace a key. So if a key is rotated twice at the same time, the second
    # rotation is refused.
    op.create_unique_constraint(op.f("uq_api_key_replaces_id"), "api_key", ["replaces_id"])


def downgrade() -> None:
    op.drop_constraint(op.f("uq_api_key_replaces_id"), "api_key")
    op.drop_column("api_key", "created_by")
    op.drop_column("api_key", "replaces_id")
    op.drop_column("api_key", "last_used_at")
    op.drop_column("api_key", "expires_at")
