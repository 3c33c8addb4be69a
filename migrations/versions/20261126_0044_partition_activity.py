"""Partition messages and calls by month, like received events.

A separate table, `activity_key`, ensures that each id of the provider belongs to only one row.
Triggers write `activity_key` when a row gets, loses or changes such an id, so that no statement can
forget it. A second row with the same id causes the same error as before, when the index of these
ids was unique. This index is no longer unique; it is still used to look up messages.

No row is copied: the existing table becomes the first partition. Code of the previous release can
still send messages. Its statements with `ON CONFLICT (openphone_id)` fail, so the delivery reports
of its messages wait until the new code runs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0044"
down_revision: str | None = "20261126_0043"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEEP_KEY = """
CREATE OR REPLACE FUNCTION keep_activity_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.openphone_id IS NOT NULL THEN
        DELETE FROM activity_key WHERE openphone_id = OLD.openphone_id AND activity_id = OLD.id;
    END IF;
    IF TG_OP = 'DELETE' OR NEW.openphone_id IS NULL THEN
        RETURN NULL;
    END IF;
    -- A statement that had to know whether the row is new has written the key before it.
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM activity_key WHERE openphone_id = NEW.openphone_id AND activity_id = NEW.id;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO activity_key (openphone_id, activity_id) VALUES (NEW.openphone_id, NEW.id);
    RETURN NULL;
END
$$
"""
TRIGGERS = (
    ("keep_key_of_new_activity", "INSERT", "NEW.openphone_id IS NOT NULL"),
    ("keep_activity_key", "UPDATE", "OLD.openphone_id IS DISTINCT FROM NEW.openphone_id"),
    ("drop_activity_key", "DELETE", "OLD.openphone_id IS NOT NULL"),
)
OWN = {name for name, _, _ in TRIGGERS}
# `FOR SHARE` locks the rows. So a concurrent statement that removes an id waits until the key is
# stored, and its trigger finds and deletes the key.
FILL_KEYS = """
WITH batch AS (
    SELECT id, openphone_id FROM activity WHERE id > :after ORDER BY id LIMIT 20000 FOR SHARE
), kept AS (
    INSERT INTO activity_key (openphone_id, activity_id)
    SELECT openphone_id, id FROM batch WHERE openphone_id IS NOT NULL ON CONFLICT DO NOTHING
)
SELECT max(id::text) FROM batch
"""
TOLD_TRIGGERS = """
SELECT tgname AS name, pg_get_triggerdef(oid) AS definition FROM pg_trigger
WHERE tgrelid = 'activity'::regclass AND NOT tgisinternal ORDER BY 1
"""
INDEXES = (
    ("idx_activity_openphone_id", ["openphone_id"], "openphone_id IS NOT NULL"),
    ("idx_activity_conversation", ["conversation_id", "occurred_at", "id"], None),
    ("idx_activity_contact", ["contact_id", "occurred_at", "id"], None),
    ("idx_activity_call", ["occurred_at", "id"], "kind = 'call'"),
    (
        "idx_activity_message",
        ["occurred_at", "id"],
        "kind = 'message' AND openphone_id IS NOT NULL",
    ),
    ("idx_activity_queued", ["send_after", "id"], "status = 'queued'"),
    (
        "idx_activity_unmatched",
        ["phone", "occurred_at"],
        "kind = 'message' AND direction = 'outgoing' AND origin = 'provider'",
    ),
)
STORAGE = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, fillfactor = 85"
)


def upgrade() -> None:
    # These statements run while the service runs. After an interruption, the migration starts
    # again from the beginning.
    with op.get_context().autocommit_block():
        op.execute(
            "CREATE TABLE IF NOT EXISTS activity_key (openphone_id text NOT NULL, "
            "activity_id uuid NOT NULL, CONSTRAINT pk_activity_key PRIMARY KEY (openphone_id))"
        )
        op.execute(KEEP_KEY)
        for name, event, condition in TRIGGERS:
            op.execute(
                f"CREATE OR REPLACE TRIGGER {name} AFTER {event} ON activity FOR EACH ROW "
                f"WHEN ({condition}) EXECUTE FUNCTION keep_activity_key()"
            )
        _fill_keys()
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_activity_openphone_id_1")
        op.create_index(
            "idx_activity_openphone_id_1",
            "activity",
            ["openphone_id"],
            postgresql_where=sa.text("openphone_id IS NOT NULL"),
            postgresql_concurrently=True,
        )
        month, high = _month()
        op.execute("ALTER TABLE activity DROP CONSTRAINT IF EXISTS ck_activity_month")
        op.execute(
            f"ALTER TABLE activity ADD CONSTRAINT ck_activity_month CHECK (id < '{high}') NOT VALID"
        )
        op.execute("ALTER TABLE activity VALIDATE CONSTRAINT ck_activity_month")
    _swap(f"activity_{month:%Y_%m}", high)
    # The function looks up one row. Its plan is made only once, because making a plan for each row
    # would take longer than the look-up.
    op.execute("ALTER FUNCTION tell_new_message() SET plan_cache_mode = force_generic_plan")
    for ahead in (1, 2):
        op.execute(
            "SELECT add_partition('activity', "
            f"(date '{month:%Y-%m-%d}' + interval '{ahead} month')::date)"
        )


def _fill_keys() -> None:
    after: str | None = "00000000-0000-0000-0000-000000000000"
    while after is not None:
        after = op.get_bind().execute(sa.text(FILL_KEYS), {"after": after}).scalar_one()


def _month() -> tuple[sa.Date, str]:
    """Return the last month of the first partition, and the smallest id after this month."""
    # If the current month ends within a day, take the next month. So the month does not end
    # during the migration.
    row = (
        op.get_bind()
        .execute(
            sa.text(
                "SELECT month::date, smallest_id_at((month + interval '1 month') "
                "AT TIME ZONE 'UTC')::text AS high "
                "FROM date_trunc('month', (now() + interval '1 day') AT TIME ZONE 'UTC') AS month"
            )
        )
        .one()
    )
    return row.month, row.high


def _told() -> Sequence[sa.Row[tuple[str, str]]]:
    return op.get_bind().execute(sa.text(TOLD_TRIGGERS)).all()


def _swap(first: str, high: str) -> None:
    op.execute("LOCK TABLE activity IN ACCESS EXCLUSIVE MODE")
    told = _told()
    for trigger in told:
        op.execute(f"DROP TRIGGER {trigger.name} ON activity")
    op.drop_index("idx_activity_openphone_id", table_name="activity")
    op.execute(f"ALTER TABLE activity RENAME TO {first}")
    for name in ("pk_activity", *(name for name, _, _ in INDEXES[1:])):
        op.execute(f"ALTER INDEX {name} RENAME TO {name}_1")
    op.execute(
        f"CREATE TABLE activity (LIKE {first} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
        "PARTITION BY RANGE (id)"
    )
    op.execute("ALTER TABLE activity DROP CONSTRAINT ck_activity_month")
    op.create_primary_key("pk_activity", "activity", ["id"])
    for name, columns, where in INDEXES:
        op.create_index(
            name, "activity", columns, postgresql_where=sa.text(where) if where else None
        )
    op.execute(
        f"ALTER TABLE activity ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('{high}')"
    )
    op.execute(f"ALTER TABLE {first} DROP CONSTRAINT ck_activity_month")
    op.execute(f"CREATE TABLE activity_default PARTITION OF activity DEFAULT WITH ({STORAGE})")
    for trigger in told:
        op.execute(trigger.definition)


def downgrade() -> None:
    op.execute("LOCK TABLE activity IN ACCESS EXCLUSIVE MODE")
    parts = (
        op.get_bind()
        .execute(
            sa.text(
                "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
                "WHERE inhparent = 'activity'::regclass ORDER BY 1"
            )
        )
        .scalars()
        .all()
    )
    first, *others = parts
    index_names = (
        op.get_bind()
        .execute(
            sa.text(
                "SELECT i.inhrelid::regclass::text AS own, i.inhparent::regclass::text AS shared "
                "FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid "
                "WHERE x.indrelid = to_regclass(:first)"
            ),
            {"first": first},
        )
        .all()
    )
    told = [trigger for trigger in _told() if trigger.name not in OWN]
    op.execute(f"ALTER TABLE activity DETACH PARTITION {first}")
    for name in others:
        op.execute(f"INSERT INTO {first} SELECT * FROM {name}")
    op.execute("DROP TABLE activity")
    op.execute(f"ALTER TABLE {first} RENAME TO activity")
    for own, shared in index_names:
        op.execute(f"ALTER INDEX {own} RENAME TO {shared}")
    op.drop_index("idx_activity_openphone_id", table_name="activity")
    op.create_index(
        "idx_activity_openphone_id",
        "activity",
        ["openphone_id"],
        unique=True,
        postgresql_where=sa.text("openphone_id IS NOT NULL"),
    )
    for trigger in told:
        op.execute(trigger.definition)
    op.execute("ALTER FUNCTION tell_new_message() RESET plan_cache_mode")
    op.execute("DROP FUNCTION keep_activity_key()")
    op.drop_table("activity_key")
