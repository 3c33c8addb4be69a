"""Keep the root secret, so that the secret key can be replaced.

It is written by the first start of a release that knows it: the key is not known here. The release
before this one goes on with the secret key itself, which is the same until it is replaced.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0041"
down_revision: str | None = "20261126_0040"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "root_secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_root_secret")),
    )


def downgrade() -> None:
    op.drop_table("root_secret")
