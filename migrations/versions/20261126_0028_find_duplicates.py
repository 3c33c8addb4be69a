"""Store pairs of contacts that may be the same person, and the last search for such pairs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0028"
down_revision: str | None = "20261126_0027"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
SCORE = (
    "CAST(round(100 - (100 - coalesce(email, 0)) * (100 - coalesce(address, 0)) "
    "* (100 - coalesce(phone, 0)) / 10000.0) AS smallint)"
)


def upgrade() -> None:
    op.create_table(
        "merge_candidate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("first_id", sa.Uuid(), nullable=False),
        sa.Column("second_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.SmallInteger(), nullable=True),
        sa.Column("address", sa.SmallInteger(), nullable=True),
        sa.Column("phone", sa.SmallInteger(), nullable=True),
        sa.Column("score", sa.SmallInteger(), sa.Computed(SCORE, persisted=True), nullable=False),
        sa.Column("found_at", INSTANT, nullable=False),
        sa.Column("dismissed_at", INSTANT, nullable=True),
        sa.Column("dismissed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("first_id < second_id", name=op.f("ck_merge_candidate_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merge_candidate")),
        sa.UniqueConstraint(
            "first_id", "second_id", name=op.f("uq_merge_candidate_first_id_second_id")
        ),
    )
    op.create_index(
        "idx_merge_candidate_score",
        "merge_candidate",
        [sa.text("score DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("dismissed_at IS NULL"),
    )
    op.create_index("idx_merge_candidate_second", "merge_candidate", ["second_id"])
    op.create_table(
        "duplicate_scan",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_duplicate_scan")),
    )


def downgrade() -> None:
    op.drop_table("duplicate_scan")
    op.drop_table("merge_candidate")
