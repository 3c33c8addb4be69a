"""Add the user role `marketer`."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0097"
down_revision: str | None = "20261129_0096"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OLD = ("owner", "manager", "agent", "viewer")


def upgrade() -> None:
    allow((*OLD, "marketer"))


def downgrade() -> None:
    op.execute("UPDATE app_user SET role = 'viewer' WHERE role = 'marketer'")
    allow(OLD)


def allow(roles: tuple[str, ...]) -> None:
    words = ", ".join(f"'{one}'" for one in roles)
    op.execute("ALTER TABLE app_user DROP CONSTRAINT ck_app_user_role")
    op.execute(
        f"ALTER TABLE app_user ADD CONSTRAINT ck_app_user_role CHECK (role IN ({words})) NOT VALID"
    )
    op.execute("ALTER TABLE app_user VALIDATE CONSTRAINT ck_app_user_role")
