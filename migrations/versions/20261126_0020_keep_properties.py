"""Add properties (buildings), and the contacts to whom they belong."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261126_0020"
down_revision: str | None = "20261126_0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "property",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("address_key", sa.Text(collation="C"), nullable=False),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("year_built", sa.SmallInteger(), nullable=True),
        sa.Column("property_type", sa.Text(), nullable=True),
        sa.Column(
            "attributes",
            postgresql.JSONB(none_as_null=True),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("source", sa.Text(), server_default=sa.text("'api'"), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_property")),
        sa.UniqueConstraint("address_key", name=op.f("uq_property_address_key")),
    )
    op.create_index("idx_property_created", "property", ["created_at", "id"])
    op.create_index(
        "idx_property_import",
        "property",
        ["import_id"],
        postgresql_where=sa.text("import_id IS NOT NULL"),
    )
    op.create_table(
        "property_contact",
        sa.Column("property_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("added_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "role IN ('primary', 'secondary', 'other')", name=op.f("ck_property_contact_role")
        ),
        sa.ForeignKeyConstraint(
            ["property_id"],
            ["property.id"],
            name=op.f("fk_property_contact_property_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contact.id"],
            name=op.f("fk_property_contact_contact_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("property_id", "contact_id", name=op.f("pk_property_contact")),
    )
    op.create_index(
        "idx_property_contact_contact",
        "property_contact",
        ["contact_id", "added_at", "property_id"],
    )
    op.create_index(
        "idx_property_contact_import",
        "property_contact",
        ["import_id"],
        postgresql_where=sa.text("import_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("property_contact")
    op.drop_table("property")
