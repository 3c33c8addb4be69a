"""Store the provider's time of a consent decision in a column of its own, `claimed_at`.

Consent decisions are ordered by `occurred_at`. Before, `occurred_at` was the provider's time. Now
it is never later than the receipt of the message. Existing entries are not changed. For their
order, the earlier of `occurred_at` and `created_at` is used.
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
