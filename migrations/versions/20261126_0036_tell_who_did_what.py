"""Store in the audit log who made a change, from which address and with which request.

Entries older than 365 days may now be deleted. Before, the database refused every change and every
deletion of an entry. New indexes find entries by time, subject, actor and operation.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0036"
down_revision: str | None = "20261126_0035"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

REFUSE = """
CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- By the database's own clock: whoever may delete here cannot hide what was done this year.
    IF TG_OP = 'DELETE' AND OLD.created_at < now() - interval '365 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'restrict_violation';
END
$$
"""


def upgrade() -> None:
    for name in ("actor_id", "operation", "request_id", "address"):
        op.add_column("audit_log", sa.Column(name, sa.Text()))
    op.create_index("idx_audit_log_created", "audit_log", ["created_at", "id"])
    op.create_index("idx_audit_log_subject", "audit_log", ["subject", "created_at", "id"])
    op.create_index("idx_audit_log_actor", "audit_log", ["actor", "created_at", "id"])
    op.create_index(
        "idx_audit_log_actor_id",
        "audit_log",
        ["actor_id", "created_at", "id"],
        postgresql_where=sa.text("actor_id IS NOT NULL"),
    )
    op.create_index(
        "idx_audit_log_act",
        "audit_log",
        [sa.text("COALESCE(operation, action)"), "created_at", "id"],
    )
    op.execute(REFUSE)
    op.execute("DROP TRIGGER append_only ON audit_log")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change_of_audit_log()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER append_only ON audit_log")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute("DROP FUNCTION refuse_change_of_audit_log()")
    for name in ("act", "actor_id", "actor", "subject", "created"):
        op.drop_index(f"idx_audit_log_{name}", "audit_log")
    for name in ("address", "request_id", "operation", "actor_id"):
        op.drop_column("audit_log", name)
