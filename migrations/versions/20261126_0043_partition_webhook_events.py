"""Partition received events by month, so that an old month can be dropped as a whole.

The partition key is the id of the row, which contains the time of its creation. So the primary key
does not change, and a query by id reads one partition. A unique index of a partitioned table would
have to contain the partition key. So a separate small table, `webhook_event_key`, ensures that an
event of the provider is stored only once.

No row is copied: the existing table becomes the first partition, for all events until the end of
the month. Code of the previous release uses `ON CONFLICT (provider_event_id)`, so it cannot store
events after this migration. It responds to the provider with 503. The provider delivers these
events again, and the new code stores them.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261126_0043"
down_revision: str | None = "20261126_0042"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The function returns the smallest id that contains a time: 48 bits of milliseconds, then zeros.
ID_AT = """
CREATE OR REPLACE FUNCTION smallest_id_at(at timestamptz) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$
"""

# These functions run with the rights of the owner, so the worker needs no right to change the
# schema. If a function does not get its lock within three seconds, it fails, and the worker tries
# again on another day.
ADD = """
CREATE FUNCTION add_partition(parent text, month date) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
    name text := parent || to_char(month, '_YYYY_MM');
    low uuid := smallest_id_at(month::timestamp AT TIME ZONE 'UTC');
    high uuid := smallest_id_at((month + interval '1 month') AT TIME ZONE 'UTC');
    is_there boolean;
BEGIN
    IF parent NOT IN ('webhook_event', 'activity') OR extract(day FROM month) <> 1 THEN
        RAISE EXCEPTION 'no month of a table that has months';
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH '
        '(autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, '
        'fillfactor = 85)', name, parent);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id >= %L AND id < %L)',
                   parent || '_default', low, high) INTO is_there;
    IF is_there THEN
        -- Moved, not deleted: its triggers are not told.
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', parent || '_default');
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE id >= %L AND id < %L RETURNING *) '
            'INSERT INTO %I SELECT * FROM moved', parent || '_default', low, high, name);
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', parent || '_default');
    END IF;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, name, low, high);
END
$$
"""
DETACH = """
CREATE FUNCTION detach_partition(parent text, name text) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    IF parent NOT IN ('webhook_event', 'activity') OR name !~ ('^' || parent || '_\\d{4}_\\d\\d$') THEN
        RAISE EXCEPTION 'no month of a table that has months';
    END IF;
    EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, name);
END
$$
"""
DROP = """
CREATE FUNCTION drop_detached(name text) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    IF name !~ '^(webhook_event|activity)_\\d{4}_\\d\\d$' OR EXISTS (
            SELECT FROM pg_inherits WHERE inhrelid = to_regclass(name)) THEN
        RAISE EXCEPTION 'no month that was detached';
    END IF;
    EXECUTE format('DROP TABLE %I', name);
END
$$
"""
ANALYZE = """
CREATE FUNCTION analyze_partitioned(parent text) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF parent NOT IN ('webhook_event', 'activity') THEN
        RAISE EXCEPTION 'no table that has months';
    END IF;
    -- Its months are analyzed by themselves; before PostgreSQL 18 they cannot be left out.
    IF current_setting('server_version_num')::integer >= 180000 THEN
        EXECUTE format('ANALYZE ONLY %I', parent);
    ELSE
        EXECUTE format('ANALYZE %I', parent);
    END IF;
END
$$
"""
FUNCTIONS = (
    "smallest_id_at(timestamptz)",
    "add_partition(text, date)",
    "detach_partition(text, text)",
    "drop_detached(text)",
    "analyze_partitioned(text)",
)

NOTE_KEY = """
CREATE OR REPLACE FUNCTION note_event_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_event_key (provider_event_id, event_id)
    VALUES (NEW.provider_event_id, NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$
"""
FILL_KEYS = """
WITH batch AS (
    SELECT id, provider_event_id FROM webhook_event WHERE id > :after ORDER BY id LIMIT 20000
), kept AS (
    INSERT INTO webhook_event_key (provider_event_id, event_id)
    SELECT provider_event_id, id FROM batch ON CONFLICT DO NOTHING
)
SELECT max(id::text) FROM batch
"""
INDEXES = (
    ("idx_webhook_event_processed", ["next_attempt_at", "id"], "status IN ('pending', 'failed')"),
    ("idx_webhook_event_received", ["received_at", "id"], None),
    (
        "idx_webhook_event_status",
        ["status", "received_at", "id"],
        "status IN ('failed', 'dead', 'ignored')",
    ),
    (
        "idx_webhook_event_error",
        ["error_code", "received_at", "id"],
        "error_code IS NOT NULL",
    ),
)
STORAGE = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, fillfactor = 85"
)
UNIQUE = "uq_webhook_event_provider_event_id"


def upgrade() -> None:
    # These statements run while the service runs. After an interruption, the migration starts
    # again from the beginning.
    with op.get_context().autocommit_block():
        op.execute(ID_AT)
        op.execute(
            "CREATE TABLE IF NOT EXISTS webhook_event_key (provider_event_id text NOT NULL, "
            "event_id uuid NOT NULL, CONSTRAINT pk_webhook_event_key "
            "PRIMARY KEY (provider_event_id))"
        )
        op.execute(NOTE_KEY)
        op.execute(
            "CREATE OR REPLACE TRIGGER note_event_key AFTER INSERT ON webhook_event "
            "FOR EACH ROW EXECUTE FUNCTION note_event_key()"
        )
        _fill_keys()
        month, high = _month()
        op.execute("ALTER TABLE webhook_event DROP CONSTRAINT IF EXISTS ck_webhook_event_month")
        op.execute(
            "ALTER TABLE webhook_event ADD CONSTRAINT ck_webhook_event_month "
            f"CHECK (id < '{high}') NOT VALID"
        )
        op.execute("ALTER TABLE webhook_event VALIDATE CONSTRAINT ck_webhook_event_month")
    _swap(f"webhook_event_{month:%Y_%m}", high)
    for function in (ADD, DETACH, DROP, ANALYZE):
        op.execute(function)
    for ahead in (1, 2):
        op.execute(
            "SELECT add_partition('webhook_event', "
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


def _swap(first: str, high: str) -> None:
    op.execute("LOCK TABLE webhook_event IN ACCESS EXCLUSIVE MODE")
    op.execute("DROP TRIGGER note_event_key ON webhook_event")
    op.execute("DROP FUNCTION note_event_key()")
    op.execute(f"ALTER TABLE webhook_event DROP CONSTRAINT {UNIQUE}")
    op.execute(f"ALTER TABLE webhook_event RENAME TO {first}")
    for name in ("pk_webhook_event", *(name for name, _, _ in INDEXES)):
        op.execute(f"ALTER INDEX {name} RENAME TO {name}_1")
    op.execute(
        f"CREATE TABLE webhook_event (LIKE {first} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
        "PARTITION BY RANGE (id)"
    )
    op.execute("ALTER TABLE webhook_event DROP CONSTRAINT ck_webhook_event_month")
    op.create_primary_key("pk_webhook_event", "webhook_event", ["id"])
    for name, columns, where in INDEXES:
        op.create_index(
            name, "webhook_event", columns, postgresql_where=sa.text(where) if where else None
        )
    op.execute(
        f"ALTER TABLE webhook_event ATTACH PARTITION {first} "
        f"FOR VALUES FROM (MINVALUE) TO ('{high}')"
    )
    op.execute(f"ALTER TABLE {first} DROP CONSTRAINT ck_webhook_event_month")
    # The default partition has rows whose id contains a wrong time, and rows of a month whose
    # partition was not created in time.
    op.execute(
        f"CREATE TABLE webhook_event_default PARTITION OF webhook_event DEFAULT WITH ({STORAGE})"
    )


def downgrade() -> None:
    op.execute("LOCK TABLE webhook_event IN ACCESS EXCLUSIVE MODE")
    parts = (
        op.get_bind()
        .execute(
            sa.text(
                "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
                "WHERE inhparent = 'webhook_event'::regclass ORDER BY 1"
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
    op.execute(f"ALTER TABLE webhook_event DETACH PARTITION {first}")
    for name in others:
        op.execute(f"INSERT INTO {first} SELECT * FROM {name}")
    op.execute("DROP TABLE webhook_event")
    op.execute(f"ALTER TABLE {first} RENAME TO webhook_event")
    for own, shared in index_names:
        op.execute(f"ALTER INDEX {own} RENAME TO {shared}")
    op.create_unique_constraint(UNIQUE, "webhook_event", ["provider_event_id"])
    op.drop_table("webhook_event_key")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
