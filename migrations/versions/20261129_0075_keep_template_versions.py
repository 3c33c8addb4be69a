"""Store the versions of templates, their approval, and which version a campaign used.

While the service is updated, a process of the previous release may change the body of a template
without a new version. The new code detects this: the body of the template then differs from the
body of the newest version.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0075"
down_revision: str | None = "20261129_0074"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "idx_campaign_variant_template"


def upgrade() -> None:
    # The block below commits these statements, but the revision is stored only at the end. After an
    # interruption they run again, so each of them also works if it has run before.
    for table, column in (
        ("message_template", sa.Column("category", sa.Text(), nullable=True)),
        ("campaign_variant", sa.Column("template_id", sa.Uuid(), nullable=True)),
        ("campaign_variant", sa.Column("template_version", sa.Integer(), nullable=True)),
    ):
        op.add_column(table, column, if_not_exists=True)
    op.create_table(
        "template_version",
        sa.Column("template_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'draft'"), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=True),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('draft', 'submitted', 'approved', 'rejected')",
            name=op.f("ck_template_version_status"),
        ),
        sa.ForeignKeyConstraint(
            ["template_id"],
            ["message_template.id"],
            name=op.f("fk_template_version_template_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("template_id", "version", name=op.f("pk_template_version")),
        if_not_exists=True,
    )
    op.execute(
        "INSERT INTO template_version (template_id, version, body, created_at) "
        "SELECT id, 1, body, updated_at FROM message_template ON CONFLICT DO NOTHING"
    )
    with op.get_context().autocommit_block():
        # If an earlier build was interrupted, it left an invalid index. Drop this index first.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON campaign_variant (template_id) "
            "WHERE template_id IS NOT NULL"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
    op.drop_table("template_version")
    op.drop_column("campaign_variant", "template_version")
    op.drop_column("campaign_variant", "template_id")
    op.drop_column("message_template", "category")
