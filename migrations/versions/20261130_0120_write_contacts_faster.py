"""Drop the index of the ZIP, city and source of contacts, and simplify a trigger.

Since revision 20261129_0115, each reply, answer and outcome is stored with its place (ZIP, city and
source). So figures by place are as fast without the index. An import and its undo had to write the
index for each contact.

The trigger stores the former place of a contact when the place changes. Most contacts have no
merged duplicate. For such a contact, the trigger now inserts one row directly from the former
values.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "20261130_0120"
down_revision: str | None = "20261129_0119"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "idx_contact_person"
HEAD = """CREATE OR REPLACE FUNCTION note_moved_person()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
"""
BEFORE = """BEGIN
    IF OLD.merged_into IS NULL THEN
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT d.id, OLD.postal_code, OLD.city, OLD.source
        FROM (SELECT OLD.id UNION ALL SELECT c.id FROM contact c WHERE c.merged_into = OLD.id) AS d (id);
    ELSE
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT OLD.id, p.postal_code, p.city, p.source FROM contact p WHERE p.id = OLD.merged_into;
    END IF;
    RETURN NULL;
END
$function$"""
NOW = """BEGIN
    IF OLD.merged_into IS NOT NULL THEN
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT OLD.id, p.postal_code, p.city, p.source FROM contact p WHERE p.id = OLD.merged_into;
        RETURN NULL;
    END IF;
    INSERT INTO insight_person_move (contact_id, postal_code, city, source)
    VALUES (OLD.id, OLD.postal_code, OLD.city, OLD.source);
    IF EXISTS (SELECT FROM contact c WHERE c.merged_into = OLD.id) THEN
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT c.id, OLD.postal_code, OLD.city, OLD.source FROM contact c WHERE c.merged_into = OLD.id;
    END IF;
    RETURN NULL;
END
$function$"""


def upgrade() -> None:
    op.execute(HEAD + NOW)
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")


def downgrade() -> None:
    op.execute(HEAD + BEFORE)
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON contact (id) "
            "INCLUDE (merged_into, postal_code, city, source) WHERE created_at > '-infinity'"
        )
