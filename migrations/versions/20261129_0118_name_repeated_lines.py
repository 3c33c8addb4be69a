"""Store the lines of an imported file whose phone number is also in an earlier line."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "20261129_0118"
down_revision: str | None = "20261129_0115"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    lines = sa.Column(
        "repeated_lines", JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False
    )
    op.add_column("contact_import", lines)


def downgrade() -> None:
    op.drop_column("contact_import", "repeated_lines")
