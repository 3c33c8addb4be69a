"""Store the provider's time of a consent decision beside the time that counts.

The order of decisions follows ``occurred_at``. From now on this is at most the time of receipt.
Existing entries keep their value; their limit is their own ``created_at``.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261128_0048"
down_revision: str | None = "20261128_0047"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "consent_entry", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("consent_entry", "claimed_at")
