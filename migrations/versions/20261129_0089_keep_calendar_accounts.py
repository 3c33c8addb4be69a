"""Store calendar accounts, their events, and the times at which the calendar is busy.

A calendar account is a calendar on an outside server, with the user name and password.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "20261129_0089"
down_revision: str | None = "20261129_0088"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)
BEFORE = (
    "archive_not_kept campaign_blocked campaign_paused clock_skew disk_low doubtful_opt_out "
    "events_late job_failing job_overdue line_blocked mail_down media_fetch_dead "
    "message_id_given_twice month_not_dropped no_reports nothing_sent "
    "opt_out_on_unknown_line phone_lookup_refused phone_validation_failed "
    "provider_asked_to_wait provider_down provider_list_lags quote_unscheduled reconciliation_drift "
    "reconciliation_failed reconciliation_old refresh_token_reused restored send_parked "
    "sends_unclear texts_late webhook_endpoint_disabled webhook_event_dead webhook_health "
    "webhook_refused worker_away"
)
ALERT_KINDS = BEFORE.replace("campaign_blocked", "calendar_failing campaign_blocked")


def upgrade() -> None:
    op.create_table(
        "calendar_account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sync_token", sa.Text(), nullable=True),
        sa.Column("last_synced_at", INSTANT, nullable=True),
        sa.Column("next_sync_at", INSTANT, nullable=False),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'active', 'failing')", name=op.f("ck_calendar_account_status")
        ),
        sa.ForeignKeyConstraint(
            ["assignee_id"],
            ["app_user.id"],
            name=op.f("fk_calendar_account_assignee_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_account")),
        sa.UniqueConstraint("url", name=op.f("uq_calendar_account_url")),
    )
    op.create_index("idx_calendar_account_created", "calendar_account", ["created_at", "id"])
    op.create_table(
        "calendar_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("appointment_id", sa.Uuid(), nullable=True),
        sa.Column("href", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("is_gone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("base_starts_at", INSTANT, nullable=True),
        sa.Column("base_ends_at", INSTANT, nullable=True),
        sa.Column("read_at", INSTANT, nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["calendar_account.id"],
            name=op.f("fk_calendar_event_account_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["appointment_id"],
            ["appointment.id"],
            name=op.f("fk_calendar_event_appointment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_event")),
    )
    op.create_index("uq_calendar_event_uid", "calendar_event", ["account_id", "uid"], unique=True)
    op.create_index("idx_calendar_event_href", "calendar_event", ["account_id", "href"])
    op.create_index("idx_calendar_event_appointment", "calendar_event", ["appointment_id"])
    op.create_table(
        "calendar_busy_time",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_calendar_busy_time_times")),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["calendar_event.id"],
            name=op.f("fk_calendar_busy_time_event_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_busy_time")),
    )
    op.create_index("idx_calendar_busy_time_event", "calendar_busy_time", ["event_id"])
    op.create_index("idx_calendar_busy_time_start", "calendar_busy_time", ["starts_at"])
    allow_alert_kinds(ALERT_KINDS)


def downgrade() -> None:
    op.execute("DELETE FROM alert WHERE kind = 'calendar_failing'")
    op.execute("DELETE FROM suspicion WHERE kind = 'calendar_failing'")
    allow_alert_kinds(BEFORE)
    op.drop_table("calendar_busy_time")
    op.drop_table("calendar_event")
    op.drop_table("calendar_account")


def allow_alert_kinds(words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words.split())
    op.execute("ALTER TABLE alert DROP CONSTRAINT ck_alert_kind")
    op.execute(
        f"ALTER TABLE alert ADD CONSTRAINT ck_alert_kind CHECK (kind IN ({listed})) NOT VALID"
    )
    op.execute("ALTER TABLE alert VALIDATE CONSTRAINT ck_alert_kind")
