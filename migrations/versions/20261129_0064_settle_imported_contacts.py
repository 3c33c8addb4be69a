"""Let the service complete the search indexes of imported contacts and analyze the contacts.

GIN indexes collect new entries in a pending list first. The search is slow until this list is
empty, and lists of contacts have slow plans until the table is analyzed. Only the owner of a table
may empty the list or analyze the table. So two functions do this with the rights of the owner, and
each import calls both functions.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261129_0064"
down_revision: str | None = "20261129_0063"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CLEAN_SEARCH = """
CREATE FUNCTION clean_contact_search() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM gin_clean_pending_list('public.idx_contact_search');
    PERFORM gin_clean_pending_list('public.idx_contact_tags');
END
$$
"""
ANALYZE_CONTACTS = """
CREATE FUNCTION analyze_contacts() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Do not wait for an automatic VACUUM: it would be cancelled after a second.
    ANALYZE (SKIP_LOCKED) public.contact, public.contact_list_member;
END
$$
"""


def upgrade() -> None:
    op.execute(CLEAN_SEARCH)
    op.execute(ANALYZE_CONTACTS)


def downgrade() -> None:
    op.execute("DROP FUNCTION analyze_contacts()")
    op.execute("DROP FUNCTION clean_contact_search()")
