"""Let a role that does not own the tables do the three things that need the owner.

Each is a function that runs with the rights of the owner and does only one thing. `crm-api database
roles` grants the right to call it.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261126_0039"
down_revision: str | None = "20261126_0038"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The database computes the limit, so a wrong argument cannot delete an entry of this year.
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
# Only the owner may run ANALYZE; without it, a claim after a mass change is slow.
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
