"""Store for each line the provider's user in whose name the service sends messages."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261128_0049"
down_revision: str | None = "20261128_0048"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("line", sa.Column("own_user_id", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("line", "own_user_id")
