"""Store the changes of each import.

With these, a user can undo an import and compare it with its dry run.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261126_0018"
down_revision: str | None = "20261126_0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
EMPTY_LIST = sa.text("'[]'::jsonb")
EMPTY_OBJECT = sa.text("'{}'::jsonb")
CHECKS = {
    "source": "source IN ('file', 'openphone')",
    "undo_state": "undo_state IN ('pending', 'running', 'completed')",
    "dry_run_undo_state": "NOT dry_run OR undo_state IS NULL",
}


def _columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("source", sa.Text(), server_default=sa.text("'file'"), nullable=False),
        sa.Column("rows_sha256", sa.Text(), nullable=True),
        sa.Column("columns", postgresql.JSONB(), server_default=EMPTY_LIST, nullable=False),
        sa.Column("notes", postgresql.JSONB(), server_default=EMPTY_LIST, nullable=False),
        sa.Column("dry_run_id", sa.Uuid(), nullable=True),
        sa.Column("list_name", sa.Text(), nullable=True),
        sa.Column("fetch_token", sa.Text(), nullable=True),
        sa.Column("fetched_bytes", sa.BigInteger(), nullable=True),
        sa.Column(
            "changed_since_dry_run", sa.Integer(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("changes", postgresql.JSONB(), server_default=EMPTY_OBJECT, nullable=False),
        sa.Column("sample", postgresql.JSONB(), server_default=EMPTY_LIST, nullable=False),
        sa.Column("undo_state", sa.Text(), nullable=True),
        sa.Column("undo_counts", postgresql.JSONB(), server_default=EMPTY_OBJECT, nullable=False),
        sa.Column("undone_at", INSTANT, nullable=True),
        sa.Column("cleaned_at", INSTANT, nullable=True),
    )


def upgrade() -> None:
    for column in _columns():
        op.add_column("contact_import", column)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_contact_import_{name}"), "contact_import", condition)
    op.create_foreign_key(
        op.f("fk_contact_import_dry_run_id"),
        "contact_import",
        "contact_import",
        ["dry_run_id"],
        ["id"],
    )
    op.create_index(
        "idx_contact_import_undoing",
        "contact_import",
        ["updated_at", "id"],
        postgresql_where=sa.text("undo_state IN ('pending', 'running')"),
    )
    op.create_index(
        "uq_contact_import_dry_run_id",
        "contact_import",
        ["dry_run_id"],
        unique=True,
        postgresql_where=sa.text(
            "status IN ('pending', 'running', 'completed') AND undone_at IS NULL"
        ),
    )
    op.create_table(
        "contact_import_chunk",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("applied_at", INSTANT, nullable=False),
        sa.Column("outcomes", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("created_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("changed_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("changes", postgresql.ARRAY(postgresql.JSONB()), nullable=False),
        sa.Column("undone_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["contact_import.id"],
            name=op.f("fk_contact_import_chunk_import_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", "start", name=op.f("pk_contact_import_chunk")),
    )


def downgrade() -> None:
    op.drop_table("contact_import_chunk")
    op.drop_index("uq_contact_import_dry_run_id", "contact_import")
    op.drop_index("idx_contact_import_undoing", "contact_import")
    op.drop_constraint(op.f("fk_contact_import_dry_run_id"), "contact_import")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_contact_import_{name}"), "contact_import")
    for column in _columns():
        op.drop_column("contact_import", str(column.name))
