"""Store the time for which a user scheduled a message, and which user sent a message.

Code of the previous release does not set the new columns. It claims a message at `send_after`,
which is never earlier than `scheduled_for`. So it sends no scheduled message too early.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0072"
down_revision: str | None = "20261129_0071"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = {
    "scheduled_for": sa.DateTime(timezone=True),
    "sent_by_id": sa.Uuid(),
    "sent_by_name": sa.Text(),
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("activity", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("activity", name)
