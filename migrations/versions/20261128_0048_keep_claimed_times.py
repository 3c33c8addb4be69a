"""Keep what the provider's clock said of a decision beside the instant that counts.

Decisions are ordered by ``occurred_at``, which is bounded by the receipt from now on. The entries
of before keep what they have; their bound is their own ``created_at``.
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
