"""Store a hash of the location that each calendar event had when it was last read or written.

The column is NULL for the events that exist already. It gets a value when the event is read or
written the next time.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261130_0126"
down_revision: str | None = "20261130_0125"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("calendar_event", sa.Column("location_digest", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("calendar_event", "location_digest")
