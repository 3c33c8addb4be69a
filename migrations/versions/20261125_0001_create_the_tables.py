"""Create the first tables.

A status is a text column with a CHECK constraint. Most ids are UUIDs of version 7, which the
service creates. Times have the type `timestamptz`.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "20261125_0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


UUID_V7 = """
CREATE FUNCTION uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(
            set_bit(
                overlay(
                    uuid_send(gen_random_uuid())
                    PLACING substring(
                        int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3
                    )
                    FROM 1 FOR 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::uuid
$$
"""
"""SQL function that creates a UUID of version 7 (RFC 9562). PostgreSQL has one only since 18."""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute(UUID_V7)
    op.execute(APPEND_ONLY)
    op.create_table(
        "activity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("openphone_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column(
            "media",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column(
            "call",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("send_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('message', 'call')", name=op.f("ck_activity_kind")),
        sa.CheckConstraint(
            "origin IN ('campaign', 'manual', 'test', 'confirmation', 'help', 'provider')",
            name=op.f("ck_activity_origin"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity")),
    )
    op.create_index(
        "idx_activity_call",
        "activity",
        ["occurred_at", "id"],
        unique=False,
        postgresql_where=sa.text("kind = 'call'"),
    )
    op.create_index(
        "idx_activity_contact", "activity", ["contact_id", "occurred_at", "id"], unique=False
    )
    op.create_index(
        "idx_activity_conversation",
        "activity",
        ["conversation_id", "occurred_at", "id"],
        unique=False,
    )
    op.create_index(
        "idx_activity_openphone_id",
        "activity",
        ["openphone_id"],
        unique=True,
        postgresql_where=sa.text("openphone_id IS NOT NULL"),
    )
    op.create_index(
        "idx_activity_queued",
        "activity",
        ["send_after", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "idx_activity_unmatched",
        "activity",
        ["phone", "occurred_at"],
        unique=False,
        postgresql_where=sa.text(
            "kind = 'message' AND direction = 'outgoing' AND origin = 'provider'"
        ),
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column(
            "context",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_alert_kind_subject")),
    )
    op.create_index("idx_alert_last_seen", "alert", ["last_seen_at", "id"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_key_key_hash")),
    )
    op.create_index("idx_api_key_created", "api_key", ["created_at", "id"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "detail",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "consent_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("phone_hash", sa.LargeBinary(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "action IN ('opt_out', 'opt_in', 'hold', 'release')",
            name=op.f("ck_consent_entry_action"),
        ),
        sa.CheckConstraint(
            "source IN ('message', 'api', 'import', 'provider')",
            name=op.f("ck_consent_entry_source"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_entry")),
    )
    op.create_index(
        "idx_consent_entry_phone_hash", "consent_entry", ["phone_hash", "id"], unique=False
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("street", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("zone_key", sa.Text(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "attributes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("source", sa.Text(), server_default=sa.text("'api'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "search_text",
            sa.Text(),
            sa.Computed(
                "lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || phone || ' ' || coalesce(email, '') || ' ' || coalesce(company, ''))",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
        sa.UniqueConstraint("phone", name=op.f("uq_contact_phone")),
    )
    op.create_index(
        "idx_contact_created",
        "contact",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "idx_contact_phone_hash", "contact", ["phone"], unique=False, postgresql_using="hash"
    )
    op.create_index(
        "idx_contact_search",
        "contact",
        ["search_text"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
    )
    op.create_index("idx_contact_tags", "contact", ["tags"], unique=False, postgresql_using="gin")
    op.create_table(
        "contact_flag",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("flag_type", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_flag")),
        sa.UniqueConstraint("phone", "flag_type", name=op.f("uq_contact_flag_phone_flag_type")),
    )
    op.create_index(
        "idx_contact_flag_type_phone",
        "contact_flag",
        ["flag_type", "phone"],
        unique=False,
        postgresql_where=sa.text("flag_type IN ('opted_out', 'opt_out_hold', 'do_not_contact')"),
    )
    op.create_table(
        "contact_import",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("byte_size", sa.BigInteger(), nullable=False),
        sa.Column("detected_format", sa.Text(), nullable=True),
        sa.Column(
            "mapping",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("on_duplicate", sa.Text(), server_default=sa.text("'fill'"), nullable=False),
        sa.Column("dry_run", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("list_id", sa.Uuid(), nullable=True),
        sa.Column("rows_total", sa.Integer(), nullable=True),
        sa.Column("rows_processed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unchanged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("duplicates_in_file", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("invalid", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "on_duplicate IN ('fill', 'overwrite', 'skip')",
            name=op.f("ck_contact_import_on_duplicate"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_contact_import_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_import")),
    )
    op.create_index(
        "idx_contact_import_created", "contact_import", ["created_at", "id"], unique=False
    )
    op.create_index(
        "idx_contact_import_waiting",
        "contact_import",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_table(
        "contact_list",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_list")),
        sa.UniqueConstraint("name", name=op.f("uq_contact_list_name")),
    )
    op.create_index("idx_contact_list_created", "contact_list", ["created_at", "id"], unique=False)
    op.create_table(
        "conversation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("openphone_id", sa.Text(), nullable=True),
        sa.Column("last_activity_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation")),
        sa.UniqueConstraint("line_id", "phone", name=op.f("uq_conversation_line_id_phone")),
    )
    op.create_index(
        "idx_conversation_contact", "conversation", ["contact_id", "last_activity_at"], unique=False
    )
    op.create_index(
        "idx_conversation_last_activity",
        "conversation",
        [sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "line",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("phone_number_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("daily_limit", sa.Integer(), server_default=sa.text("125"), nullable=False),
        sa.Column(
            "timezone", sa.Text(), server_default=sa.text("'America/New_York'"), nullable=False
        ),
        sa.Column("status", sa.Text(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("blocked_reason", sa.Text(), nullable=True),
        sa.Column("blocked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resend_unclear", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('active', 'blocked')", name=op.f("ck_line_status")),
        sa.CheckConstraint("daily_limit >= 0", name=op.f("ck_line_daily_limit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_line")),
        sa.UniqueConstraint("phone_number_id", name=op.f("uq_line_phone_number_id")),
    )
    op.create_index("idx_line_created", "line", ["created_at", "id"], unique=False)
    op.create_index("idx_line_number", "line", ["number"], unique=False)
    op.create_table(
        "rate_limit",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rate_limit")),
    )
    op.create_table(
        "scheduled_job",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("last_result", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("runs", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scheduled_job")),
    )
    op.create_table(
        "webhook_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider_event_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=True),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'processed', 'failed', 'dead', 'ignored')",
            name=op.f("ck_webhook_event_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_event")),
        sa.UniqueConstraint("provider_event_id", name=op.f("uq_webhook_event_provider_event_id")),
    )
    op.create_index(
        "idx_webhook_event_processed",
        "webhook_event",
        ["next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'failed')"),
    )
    op.create_index(
        "idx_webhook_event_received", "webhook_event", ["received_at", "id"], unique=False
    )
    op.create_index(
        "idx_webhook_event_status", "webhook_event", ["status", "received_at", "id"], unique=False
    )
    op.create_table(
        "worker_heartbeat",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_heartbeat")),
    )
    op.create_table(
        "campaign",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'draft'"), nullable=False),
        sa.Column("audience", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("days", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("window_start", sa.Time(), nullable=False),
        sa.Column("window_end", sa.Time(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("daily_limit", sa.Integer(), server_default=sa.text("125"), nullable=False),
        sa.Column("pacing_mode", sa.Text(), server_default=sa.text("'even'"), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=True),
        sa.Column("batch_interval_minutes", sa.Integer(), nullable=True),
        sa.Column(
            "previously_contacted", sa.Text(), server_default=sa.text("'send'"), nullable=False
        ),
        sa.Column("min_days_between", sa.Integer(), nullable=True),
        sa.Column("opt_out_footer", sa.Text(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column(
            "follow_ups",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("blocked_reason", sa.Text(), nullable=True),
        sa.Column("zone_keys", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("recipients_total", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "pacing_mode IN ('even', 'burst')", name=op.f("ck_campaign_pacing_mode")
        ),
        sa.CheckConstraint(
            "previously_contacted IN ('send', 'skip', 'review')",
            name=op.f("ck_campaign_previously_contacted"),
        ),
        sa.CheckConstraint(
            "status IN ('draft', 'scheduled', 'running', 'paused', 'blocked', 'completed', 'cancelled')",
            name=op.f("ck_campaign_status"),
        ),
        sa.CheckConstraint("daily_limit >= 0", name=op.f("ck_campaign_daily_limit")),
        sa.CheckConstraint("max_attempts >= 1", name=op.f("ck_campaign_max_attempts")),
        sa.CheckConstraint("window_start < window_end", name=op.f("ck_campaign_window")),
        sa.ForeignKeyConstraint(["line_id"], ["line.id"], name=op.f("fk_campaign_line_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
    )
    op.create_index(
        "idx_campaign_active",
        "campaign",
        ["line_id", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('scheduled', 'running')"),
    )
    op.create_index("idx_campaign_created", "campaign", ["created_at", "id"], unique=False)
    op.create_table(
        "consent_wording",
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column(
            "evidence",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["consent_entry.id"], name=op.f("fk_consent_wording_entry_id")
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_consent_wording")),
    )
    op.create_table(
        "contact_import_error",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("column", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["contact_import.id"],
            name=op.f("fk_contact_import_error_import_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_import_error")),
    )
    op.create_index(
        "idx_contact_import_error_import", "contact_import_error", ["import_id", "id"], unique=False
    )
    op.create_table(
        "contact_list_member",
        sa.Column("list_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contact.id"],
            name=op.f("fk_contact_list_member_contact_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["list_id"],
            ["contact_list.id"],
            name=op.f("fk_contact_list_member_list_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("list_id", "contact_id", name=op.f("pk_contact_list_member")),
    )
    op.create_index(
        "idx_contact_list_member_added",
        "contact_list_member",
        ["list_id", "added_at", "contact_id"],
        unique=False,
    )
    op.create_index(
        "idx_contact_list_member_contact", "contact_list_member", ["contact_id"], unique=False
    )
    op.create_table(
        "send_attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("'campaign'"), nullable=False),
        sa.Column("membership_id", sa.Uuid(), nullable=True),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("line_id", sa.Uuid(), nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("nil_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("is_matched", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("has_no_id", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('campaign', 'manual', 'test', 'confirmation', 'help')",
            name=op.f("ck_send_attempt_kind"),
        ),
        sa.CheckConstraint(
            "status IN ('claimed', 'calling', 'unknown', 'parked', 'sent', 'failed', 'delivered', 'refused', 'released', 'not_found')",
            name=op.f("ck_send_attempt_status"),
        ),
        sa.ForeignKeyConstraint(["line_id"], ["line.id"], name=op.f("fk_send_attempt_line_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_send_attempt")),
    )
    op.create_index(
        "idx_send_attempt_accepted",
        "send_attempt",
        ["line_id", "accepted_at"],
        unique=False,
        postgresql_include=["campaign_id"],
        postgresql_where=sa.text("accepted_at IS NOT NULL"),
    )
    op.create_index(
        "idx_send_attempt_membership",
        "send_attempt",
        ["membership_id"],
        unique=False,
        postgresql_where=sa.text("membership_id IS NOT NULL"),
    )
    op.create_index(
        "idx_send_attempt_open",
        "send_attempt",
        ["line_id", "campaign_id", "lease_until"],
        unique=False,
        postgresql_where=sa.text("status IN ('claimed', 'calling', 'unknown')"),
    )
    op.create_index("idx_send_attempt_phone", "send_attempt", ["phone", "created_at"], unique=False)
    op.create_index(
        "idx_send_attempt_uncertain",
        "send_attempt",
        ["line_id", "called_at"],
        unique=False,
        postgresql_include=["campaign_id"],
        postgresql_where=sa.text("status IN ('parked', 'not_found')"),
    )
    op.create_index(
        "uq_send_attempt_open_phone",
        "send_attempt",
        ["phone"],
        unique=True,
        postgresql_where=sa.text("status IN ('claimed', 'calling', 'unknown')"),
    )
    op.create_index(
        "uq_send_attempt_provider_message_id",
        "send_attempt",
        ["provider_message_id"],
        unique=True,
        postgresql_where=sa.text("provider_message_id IS NOT NULL"),
    )
    op.create_table(
        "campaign_membership",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("zone_key", sa.Text(), nullable=False),
        sa.Column("variant", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("skip_reason", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opted_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'review', 'held', 'sending', 'unknown', 'sent', 'delivered', 'failed', 'skipped', 'cancelled')",
            name=op.f("ck_campaign_membership_status"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_campaign_membership_campaign_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_membership")),
        sa.UniqueConstraint(
            "campaign_id",
            "step",
            "contact_id",
            name=op.f("uq_campaign_membership_campaign_id_step_contact_id"),
        ),
        sa.UniqueConstraint(
            "campaign_id",
            "step",
            "phone",
            name=op.f("uq_campaign_membership_campaign_id_step_phone"),
        ),
    )
    op.create_index(
        "idx_campaign_membership_campaign",
        "campaign_membership",
        ["campaign_id", "step", "status", "contact_id"],
        unique=False,
        postgresql_include=["variant"],
    )
    op.create_index(
        "idx_campaign_membership_answered",
        "campaign_membership",
        ["campaign_id", "step", "variant"],
        unique=False,
        postgresql_where=sa.text("replied_at IS NOT NULL OR opted_out_at IS NOT NULL"),
    )
    op.create_index(
        "idx_campaign_membership_phone", "campaign_membership", ["phone", "sent_at"], unique=False
    )
    op.create_index(
        "idx_campaign_membership_status",
        "campaign_membership",
        ["campaign_id", "zone_key", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "campaign_variant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("weight", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("weight BETWEEN 0 AND 100", name=op.f("ck_campaign_variant_weight")),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaign.id"],
            name=op.f("fk_campaign_variant_campaign_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_variant")),
        sa.UniqueConstraint(
            "campaign_id", "name", name=op.f("uq_campaign_variant_campaign_id_name")
        ),
        sa.UniqueConstraint(
            "campaign_id", "position", name=op.f("uq_campaign_variant_campaign_id_position")
        ),
    )
    for table in ("consent_entry", "audit_log"):
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    # These tables change all day. So autovacuum cleans and analyzes them after 2 % of the rows have
    # changed. By default it cleans after 20 % and analyzes after 10 %.
    for table in ("campaign_membership", "send_attempt", "activity", "webhook_event"):
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.02, "
            "autovacuum_analyze_scale_factor = 0.02, fillfactor = 85)"
        )


def downgrade() -> None:
    op.drop_table("campaign_variant")
    op.drop_index(
        "idx_campaign_membership_status",
        table_name="campaign_membership",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.drop_index("idx_campaign_membership_phone", table_name="campaign_membership")
    op.drop_index(
        "idx_campaign_membership_answered",
        table_name="campaign_membership",
        postgresql_where=sa.text("replied_at IS NOT NULL OR opted_out_at IS NOT NULL"),
    )
    op.drop_index(
        "idx_campaign_membership_campaign",
        table_name="campaign_membership",
        postgresql_include=["variant"],
    )
    op.drop_table("campaign_membership")
    op.drop_index(
        "uq_send_attempt_provider_message_id",
        table_name="send_attempt",
        postgresql_where=sa.text("provider_message_id IS NOT NULL"),
    )
    op.drop_index(
        "uq_send_attempt_open_phone",
        table_name="send_attempt",
        postgresql_where=sa.text("status IN ('claimed', 'calling', 'unknown')"),
    )
    op.drop_index(
        "idx_send_attempt_uncertain",
        table_name="send_attempt",
        postgresql_include=["campaign_id"],
        postgresql_where=sa.text("status IN ('parked', 'not_found')"),
    )
    op.drop_index("idx_send_attempt_phone", table_name="send_attempt")
    op.drop_index(
        "idx_send_attempt_open",
        table_name="send_attempt",
        postgresql_where=sa.text("status IN ('claimed', 'calling', 'unknown')"),
    )
    op.drop_index(
        "idx_send_attempt_membership",
        table_name="send_attempt",
        postgresql_where=sa.text("membership_id IS NOT NULL"),
    )
    op.drop_index(
        "idx_send_attempt_accepted",
        table_name="send_attempt",
        postgresql_include=["campaign_id"],
        postgresql_where=sa.text("accepted_at IS NOT NULL"),
    )
    op.drop_table("send_attempt")
    op.drop_index("idx_contact_list_member_contact", table_name="contact_list_member")
    op.drop_index("idx_contact_list_member_added", table_name="contact_list_member")
    op.drop_table("contact_list_member")
    op.drop_index("idx_contact_import_error_import", table_name="contact_import_error")
    op.drop_table("contact_import_error")
    op.drop_table("consent_wording")
    op.drop_index("idx_campaign_created", table_name="campaign")
    op.drop_index(
        "idx_campaign_active",
        table_name="campaign",
        postgresql_where=sa.text("status IN ('scheduled', 'running')"),
    )
    op.drop_table("campaign")
    op.drop_table("worker_heartbeat")
    op.drop_index("idx_webhook_event_status", table_name="webhook_event")
    op.drop_index("idx_webhook_event_received", table_name="webhook_event")
    op.drop_index(
        "idx_webhook_event_processed",
        table_name="webhook_event",
        postgresql_where=sa.text("status IN ('pending', 'failed')"),
    )
    op.drop_table("webhook_event")
    op.drop_table("scheduled_job")
    op.drop_table("rate_limit")
    op.drop_index("idx_line_number", table_name="line")
    op.drop_index("idx_line_created", table_name="line")
    op.drop_table("line")
    op.drop_index("idx_conversation_last_activity", table_name="conversation")
    op.drop_index("idx_conversation_contact", table_name="conversation")
    op.drop_table("conversation")
    op.drop_index("idx_contact_list_created", table_name="contact_list")
    op.drop_table("contact_list")
    op.drop_index(
        "idx_contact_import_waiting",
        table_name="contact_import",
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.drop_index("idx_contact_import_created", table_name="contact_import")
    op.drop_table("contact_import")
    op.drop_index(
        "idx_contact_flag_type_phone",
        table_name="contact_flag",
        postgresql_where=sa.text("flag_type IN ('opted_out', 'opt_out_hold', 'do_not_contact')"),
    )
    op.drop_table("contact_flag")
    op.drop_index("idx_contact_tags", table_name="contact", postgresql_using="gin")
    op.drop_index(
        "idx_contact_search",
        table_name="contact",
        postgresql_using="gin",
        postgresql_ops={"search_text": "gin_trgm_ops"},
    )
    op.drop_index("idx_contact_phone_hash", table_name="contact", postgresql_using="hash")
    op.drop_index(
        "idx_contact_created", table_name="contact", postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_table("contact")
    op.drop_index("idx_consent_entry_phone_hash", table_name="consent_entry")
    op.drop_table("consent_entry")
    op.drop_table("audit_log")
    op.drop_index("idx_api_key_created", table_name="api_key")
    op.drop_table("api_key")
    op.drop_index("idx_alert_last_seen", table_name="alert")
    op.drop_table("alert")
    op.drop_index(
        "idx_activity_unmatched",
        table_name="activity",
        postgresql_where=sa.text(
            "kind = 'message' AND direction = 'outgoing' AND origin = 'provider'"
        ),
    )
    op.drop_index(
        "idx_activity_queued", table_name="activity", postgresql_where=sa.text("status = 'queued'")
    )
    op.drop_index(
        "idx_activity_openphone_id",
        table_name="activity",
        postgresql_where=sa.text("openphone_id IS NOT NULL"),
    )
    op.drop_index("idx_activity_conversation", table_name="activity")
    op.drop_index("idx_activity_contact", table_name="activity")
    op.drop_index(
        "idx_activity_call", table_name="activity", postgresql_where=sa.text("kind = 'call'")
    )
    op.drop_table("activity")
    op.execute("DROP FUNCTION refuse_change()")
    op.execute("DROP FUNCTION uuid_v7()")
