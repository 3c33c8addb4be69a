"""Store the root secret, so that an operator can replace the secret key (`CRM_SECRET_KEY`).

The root secret is the secret key of the first start. It stays the same when the secret key is
replaced. The migration does not know the secret key, so the first start of the new release stores
the root secret. The previous release uses the secret key instead; both are equal until the secret
key is replaced.
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
