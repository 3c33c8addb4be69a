"""Store whether an import contains contacts or outcomes, and who requested it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0090"
down_revision: str | None = "20261129_0089"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    kind = sa.Column("kind", sa.Text(), server_default=sa.text("'contacts'"), nullable=False)
    op.add_column("contact_import", kind)
    op.add_column("contact_import", sa.Column("actor", sa.Text(), nullable=True))
    op.execute(
        "ALTER TABLE contact_import ADD CONSTRAINT ck_contact_import_kind "
        "CHECK (kind IN ('contacts', 'outcomes')) NOT VALID"
    )
    op.execute("ALTER TABLE contact_import VALIDATE CONSTRAINT ck_contact_import_kind")


def downgrade() -> None:
    op.execute("DELETE FROM contact_import WHERE kind = 'outcomes' AND dry_run_id IS NOT NULL")
    op.execute("DELETE FROM contact_import WHERE kind = 'outcomes'")
    op.execute("ALTER TABLE contact_import DROP CONSTRAINT ck_contact_import_kind")
    op.drop_column("contact_import", "actor")
    op.drop_column("contact_import", "kind")
