"""Let the role of the service do three things that only the owner of the tables may do.

The service may delete old audit entries, analyze the recipients, and enable the trigger that dates
events by the sandbox's time. Each of the three is a function that runs with the rights of the
owner. `crm-api database roles` grants the right to call the functions.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261126_0039"
down_revision: str | None = "20261126_0038"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The function deletes only entries that are older than 365 days by the database's clock. So a wrong
# argument cannot delete an entry of the last year.
FORGET_AUDIT_ENTRIES = """
CREATE FUNCTION forget_audit_entries(before timestamptz, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.audit_log
        WHERE id IN (
            SELECT id FROM public.audit_log
            WHERE created_at < least($1, now() - interval '365 days')
            ORDER BY created_at, id
            LIMIT $2
        )
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$
"""
# Only the owner may run ANALYZE. If many recipients changed and the table was not analyzed, claims
# are slow.
COUNT_MEMBERSHIPS_AGAIN = """
CREATE FUNCTION analyze_memberships() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ANALYZE public.campaign_membership;
END
$$
"""
DATE_EVENTS = """
CREATE FUNCTION date_events_in_sandbox() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_trigger
               WHERE tgname = 'date_event_in_sandbox' AND tgenabled = 'D') THEN
        ALTER TABLE public.event ENABLE TRIGGER date_event_in_sandbox;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.execute(FORGET_AUDIT_ENTRIES)
    op.execute(COUNT_MEMBERSHIPS_AGAIN)
    op.execute(DATE_EVENTS)


def downgrade() -> None:
    op.execute("DROP FUNCTION date_events_in_sandbox()")
    op.execute("DROP FUNCTION analyze_memberships()")
    op.execute("DROP FUNCTION forget_audit_entries(timestamptz, integer)")
