"""Store the pause that the provider requested, so that a user can end a pause that is too long."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261128_0045"
down_revision: str | None = "20261126_0044"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("rate_limit", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("rate_limit", sa.Column("asked_seconds", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("rate_limit", "asked_seconds")
    op.drop_column("rate_limit", "held_until")
